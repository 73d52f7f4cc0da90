SELECT rank, message FROM ready WHERE queue = ?1 AND message <= ?2 ORDER BY rank, message LIMIT ?3
