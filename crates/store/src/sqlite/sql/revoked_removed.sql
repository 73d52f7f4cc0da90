SELECT 1 FROM revoked WHERE task_id = ?1 AND expires_at > ?2 AND removed
