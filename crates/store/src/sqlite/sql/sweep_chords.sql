DELETE FROM chord WHERE id IN (SELECT id FROM chord WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2)
