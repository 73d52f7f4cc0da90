-- Tags above ?1 are those that claim_lend has just made: nobody else writes in this transaction.
SELECT lent.tag, message.rank, message.id, lent.deliveries, message.head, message.body, message.queue
FROM lent CROSS JOIN message ON message.id = lent.message
WHERE lent.tag > ?1 ORDER BY lent.tag
