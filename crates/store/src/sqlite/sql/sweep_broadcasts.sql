DELETE FROM broadcast WHERE number IN (SELECT number FROM broadcast WHERE expires_at <= ?1 LIMIT ?2)
