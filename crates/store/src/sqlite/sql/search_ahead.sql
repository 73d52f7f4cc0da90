-- How many messages are before one in its queue.
SELECT count(*) FROM message CROSS JOIN ready
ON ready.queue = message.queue AND (ready.rank, ready.message) < (message.rank, message.id)
WHERE message.id = ?1
