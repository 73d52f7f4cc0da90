-- Revokes tasks. ARGV: own, now, then for each its id, whether to terminate it, and for how many microseconds that is
-- remembered. Answers which of them had scheduled messages, which are removed, now or when they were revoked before: whoever
-- could not store their results may ask again.
local removed, is_removed = {}, {}
for _, key in ipairs({ 'revoked', 'revoked:removed' }) do redis.call('ZREMRANGEBYSCORE', own .. key, '-inf', now) end
for at = 3, #ARGV, 3 do
  local id, terminate, expires = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local until_ = math.min(now + tonumber(expires), 9e15)
  redis.call('ZADD', own .. 'revoked', until_, id)
  redis.call('XADD', own .. 'revocations', 'MAXLEN', '~', 10000, '*', 'id', id, 'terminate', terminate, 'expires', expires)
  if cancel(id) > 0 or redis.call('ZSCORE', own .. 'revoked:removed', id) then
    redis.call('ZADD', own .. 'revoked:removed', until_, id)
    if not is_removed[id] then removed[#removed + 1] = id end
    is_removed[id] = true
  end
end
return removed
