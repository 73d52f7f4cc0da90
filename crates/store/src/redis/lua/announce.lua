-- A worker says that it is there; those whose word has run out are forgotten.
-- ARGV: own, now, worker, what it says, for how many microseconds that counts.
for _, silent in ipairs(redis.call('ZRANGEBYSCORE', own .. 'workers:until', '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', own .. 'workers:until', silent)
  redis.call('HDEL', own .. 'workers', silent)
end
redis.call('HSET', own .. 'workers', ARGV[3], ARGV[4])
redis.call('ZADD', own .. 'workers:until', math.min(now + tonumber(ARGV[5]), 9e15), ARGV[3])
tell(own .. 'announced', ARGV[3])
return 1
