UPDATE control_change SET expires_at = ?2 WHERE node = ?1
