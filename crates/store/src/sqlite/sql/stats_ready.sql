SELECT count(*) FROM ready WHERE queue = ?1
