-- Numbers rise in the order of commits, so nothing can appear behind a number that was read already.
SELECT number, task_id, terminate, expires_at FROM revoked WHERE number > ?1 ORDER BY number LIMIT ?2
