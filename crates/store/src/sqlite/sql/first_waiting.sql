-- The first message after a rank: one step in the primary key of `ready`.
SELECT ready.rank, message.head FROM ready CROSS JOIN message ON message.id = ready.message
WHERE ready.queue = (SELECT id FROM queue WHERE name = ?1) AND ready.rank > ?2
ORDER BY ready.rank, ready.message LIMIT 1
