-- Revokes tasks. ARGV: own, now, then for each its id, whether to terminate it, and for how many microseconds that is
-- remembered. Answers for each that had scheduled messages: its id, whether such were removed when it was revoked before (whoever
-- could not store its result may ask again), and number and message of what is scheduled: `unschedule.lua` takes these out.
local answers, told = {}, {}
for _, key in ipairs({ 'revoked', 'revoked:removed' }) do redis.call('ZREMRANGEBYSCORE', own .. key, '-inf', now) end
for at = 3, #ARGV, 3 do
  local id, terminate, expires = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local until_ = math.min(now + tonumber(expires), 9e15)
  redis.call('ZADD', own .. 'revoked', until_, id)
  redis.call('XADD', own .. 'revocations', 'MAXLEN', '~', 10000, '*', 'id', id, 'terminate', terminate, 'expires', expires)
  local was_removed = redis.call('ZSCORE', own .. 'revoked:removed', id)
  if was_removed then redis.call('ZADD', own .. 'revoked:removed', until_, id) end
  local messages = {}
  for number in string.gmatch(redis.call('HGET', own .. 'schedule:tasks', id) or '', '%d+') do
    local _, raw = scheduled(number)
    if raw then messages[#messages + 1] = { number, raw } end
  end
  if not told[id] and (was_removed or #messages > 0) then answers[#answers + 1] = { id, was_removed and 1 or 0, messages } end
  told[id] = true
end
return answers
