-- Commits together with the rows that bear the numbers.
UPDATE sequence SET last = ?1
