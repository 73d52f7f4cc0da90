-- Changes nothing if the tag is not lent any more. ?2 is 1 if the delivery is not to count.
INSERT INTO ready (queue, rank, message, deliveries)
SELECT message.queue, message.rank, message.id, lent.deliveries - ?2
FROM lent CROSS JOIN message ON message.id = lent.message
WHERE lent.tag = ?1
