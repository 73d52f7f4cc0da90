UPDATE control_change SET value = ?3, at = ?4 WHERE node = ?1 AND name = ?2
