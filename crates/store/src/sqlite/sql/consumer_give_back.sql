-- With consumer_take_away and consumer_remove in one transaction: once the consumer's row is gone it can settle
-- nothing. ?2 is 1 if these deliveries are not to count; else first ones do, and others if they had started, which
-- nobody can say any more from here on. The old rank is older than what waits, hence the head.
INSERT INTO ready (queue, rank, message, deliveries)
SELECT message.queue, message.rank, message.id, lent.deliveries - (?2 OR (lent.deliveries > 1 AND NOT lent.started))
FROM lent CROSS JOIN message ON message.id = lent.message
WHERE lent.consumer = ?1
