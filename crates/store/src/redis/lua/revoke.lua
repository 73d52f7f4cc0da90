-- Revokes tasks. ARGV: own, now, then for each its id, whether to terminate it, and for how many microseconds that is
-- remembered. Answers which of them had scheduled messages, which are removed.
local removed = {}
redis.call('ZREMRANGEBYSCORE', own .. 'revoked', '-inf', now)
for at = 3, #ARGV, 3 do
  local id, terminate, expires = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  redis.call('ZADD', own .. 'revoked', math.min(now + tonumber(expires), 9e15), id)
  redis.call('XADD', own .. 'revocations', 'MAXLEN', '~', 10000, '*', 'id', id, 'terminate', terminate, 'expires', expires)
  if cancel(id) > 0 then removed[#removed + 1] = id end
end
return removed
