DELETE FROM consumes WHERE consumer = ?1
