DELETE FROM lent WHERE consumer = ?1
