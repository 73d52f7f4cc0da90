-- Gives back all that a consumer has, as if it had never been delivered, and ends the consumer. ARGV: own, now, consumer.
goes_on_when_full()
give_back_all(ARGV[3], false)
return 1
