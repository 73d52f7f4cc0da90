-- A worker ends. ARGV: own, now, worker.
redis.call('HDEL', own .. 'workers', ARGV[3])
redis.call('ZREM', own .. 'workers:until', ARGV[3])
tell(own .. 'announced', ARGV[3])
return 1
