-- All that is lent, once for a whole question: no index on it has to be kept for this.
SELECT lent.message, consumer.worker FROM lent CROSS JOIN consumer ON consumer.id = lent.consumer
