INSERT INTO expiry (minute, first, last) VALUES (?1, ?2, ?3)
ON CONFLICT (minute) DO UPDATE SET last = max(last, excluded.last), first = min(first, excluded.first)
