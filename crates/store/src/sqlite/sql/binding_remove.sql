DELETE FROM binding WHERE exchange = ?1 AND type = ?2 AND routing_key = ?3 AND queue = (SELECT id FROM queue WHERE name = ?4)
