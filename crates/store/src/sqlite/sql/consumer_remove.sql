DELETE FROM consumer WHERE id = ?1
