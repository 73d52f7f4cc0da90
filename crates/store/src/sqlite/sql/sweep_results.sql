-- Looks at each row again: one in the range may have been stored with another time to live.
DELETE FROM result WHERE number BETWEEN ?1 AND ?2 AND expires_at <= ?3
