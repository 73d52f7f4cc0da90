DELETE FROM part WHERE run = ?1
