SELECT result FROM saved_group WHERE id = ?1 AND expires_at > ?2
