SELECT 1 FROM part WHERE run = ?1 AND member = ?2 AND place = ?3
