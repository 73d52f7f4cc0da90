SELECT name, value, at FROM control_change WHERE node = ?1 AND expires_at > ?2 ORDER BY name
