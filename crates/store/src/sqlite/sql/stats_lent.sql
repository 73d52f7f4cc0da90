-- What a consumer holds whose lease ran out is as good as back in its queue.
SELECT message.queue, count(*), sum(consumer.lease_until <= ?1)
FROM lent CROSS JOIN message ON message.id = lent.message JOIN consumer ON consumer.id = lent.consumer
GROUP BY message.queue
