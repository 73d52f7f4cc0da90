-- Numbers rise in the order of commits, so nothing can appear behind a number that was read already.
SELECT number, task_id FROM result WHERE number > ?1 AND final ORDER BY number LIMIT ?2
