-- Gives back all that a consumer has, as if it had never been delivered, and ends the consumer. ARGV: own, now, consumer.
give_back_all(ARGV[3], false)
redis.call('DEL', own .. 'calls:' .. ARGV[3])
return 1
