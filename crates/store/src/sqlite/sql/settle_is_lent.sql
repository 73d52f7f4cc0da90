SELECT 1 FROM lent WHERE tag = ?1
