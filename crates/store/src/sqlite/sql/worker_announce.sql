INSERT OR REPLACE INTO worker (id, number, name, announced_at, valid_until, facts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
