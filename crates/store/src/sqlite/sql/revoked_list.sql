SELECT task_id FROM revoked WHERE expires_at > ?1 ORDER BY expires_at DESC LIMIT ?2
