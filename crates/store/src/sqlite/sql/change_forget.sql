DELETE FROM control_change WHERE node = ?1 AND name = ?2
