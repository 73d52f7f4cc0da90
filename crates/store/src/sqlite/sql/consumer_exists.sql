SELECT 1 FROM consumer WHERE id = ?1
