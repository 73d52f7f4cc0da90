-- Changes nothing if the message is lent: then it stays with its worker.
DELETE FROM ready WHERE queue = ?1 AND rank = ?2 AND message = ?3
