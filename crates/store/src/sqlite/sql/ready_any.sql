-- Outside of a transaction: decides only whether taking the write lock is worth it.
SELECT 1 FROM ready WHERE queue = ?1 LIMIT 1
