SELECT consumes.queue, count(*) FROM consumes JOIN consumer ON consumer.id = consumes.consumer
WHERE consumer.lease_until > ?1 GROUP BY consumes.queue
