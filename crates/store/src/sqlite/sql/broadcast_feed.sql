-- Numbers rise in the order of commits, so nothing can appear behind a number that was read already.
SELECT number, routing_key, ends, head, body FROM broadcast
WHERE exchange = ?1 AND number > ?2 AND expires_at > ?3 ORDER BY number LIMIT ?4
