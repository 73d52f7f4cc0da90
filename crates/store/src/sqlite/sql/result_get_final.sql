SELECT record FROM result WHERE task_id = ?1 AND expires_at > ?2 AND final
