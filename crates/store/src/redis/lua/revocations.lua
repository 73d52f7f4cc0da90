-- The tasks that are revoked, those first that are remembered longest. ARGV: own, now, and how many at most.
return redis.call('ZREVRANGEBYSCORE', own .. 'revoked', '+inf', string.format('(%.0f', now), 'LIMIT', 0, ARGV[3])
