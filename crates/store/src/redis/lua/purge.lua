-- Empties lists, and takes out of the schedule what would go there. ARGV: own, now. KEYS[3..]: the lists.
-- Answers how many messages that were.
local count, scheduled = 0, {}
for at = 3, #KEYS do
  count = count + redis.call('LLEN', KEYS[at])
  redis.call('DEL', KEYS[at])
  if redis.call('HEXISTS', own .. 'schedule:counts', KEYS[at]) == 1 then scheduled[KEYS[at]] = true end
end
if not next(scheduled) then return count end
for _, number in ipairs(redis.call('ZRANGE', own .. 'schedule', 0, -1)) do
  local entry = redis.call('HGET', own .. 'schedule:messages', number)
  local size, start = string.match(entry or '', '^(%d+):%d+:()')
  if size and scheduled[string.sub(entry, start, start + size - 1)] then
    unschedule(number)
    count = count + 1
  end
end
return count
