-- What is in neither ready nor delayed is lent.
SELECT message.id, queue.name,
       EXISTS (SELECT 1 FROM ready
               WHERE ready.queue = message.queue AND ready.rank = message.rank AND ready.message = message.id),
       (SELECT delayed.due FROM delayed WHERE delayed.due = message.due AND delayed.message = message.id)
FROM message CROSS JOIN queue ON queue.id = message.queue
