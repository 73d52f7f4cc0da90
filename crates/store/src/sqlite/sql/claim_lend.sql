-- With claim_remove in one write transaction: a message is either ready or lent at every instant. The delivery
-- count rises here, before anybody sees the message. AUTOINCREMENT numbers the rows in the order of the SELECT.
INSERT INTO lent (consumer, message, deliveries)
SELECT ?1, message, deliveries + 1 FROM ready WHERE queue = ?2 ORDER BY rank, message LIMIT ?3
