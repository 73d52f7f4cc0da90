-- With due_remove in one transaction: a message that is due is in exactly one of the two tables.
INSERT INTO ready (queue, rank, message, deliveries)
SELECT queue, rank, message, 0 FROM delayed WHERE due <= ?1 ORDER BY due, message LIMIT ?2
