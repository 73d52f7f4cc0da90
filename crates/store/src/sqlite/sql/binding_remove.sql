-- Of whatever type: an exchange has one.
DELETE FROM binding WHERE exchange = ?1 AND routing_key = ?2 AND queue = (SELECT id FROM queue WHERE name = ?3)
