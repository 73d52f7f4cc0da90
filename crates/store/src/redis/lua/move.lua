-- A consumer takes from other lists too from now on. ARGV: own, now, consumer, its record. One that has been forgotten says so
-- with its next call.
if redis.call('HEXISTS', own .. 'consumers', ARGV[3]) == 1 then redis.call('HSET', own .. 'consumers', ARGV[3], ARGV[4]) end
return 1
