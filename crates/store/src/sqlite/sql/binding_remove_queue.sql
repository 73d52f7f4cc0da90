DELETE FROM binding WHERE queue = (SELECT id FROM queue WHERE name = ?1)
