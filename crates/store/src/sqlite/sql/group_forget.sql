DELETE FROM saved_group WHERE id = ?1
