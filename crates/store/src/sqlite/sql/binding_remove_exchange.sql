DELETE FROM binding WHERE exchange = ?1
