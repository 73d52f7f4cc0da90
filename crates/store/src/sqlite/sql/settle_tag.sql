DELETE FROM lent WHERE tag = ?1
