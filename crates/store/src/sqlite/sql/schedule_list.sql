SELECT delayed.due, queue.name, message.head, message.body
FROM delayed CROSS JOIN message ON message.id = delayed.message JOIN queue ON queue.id = delayed.queue
WHERE delayed.due > ?1
ORDER BY delayed.due, delayed.message LIMIT ?2
