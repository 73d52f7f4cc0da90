DELETE FROM listener WHERE id = ?1
