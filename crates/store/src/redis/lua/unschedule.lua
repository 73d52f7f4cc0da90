-- Takes messages of revoked tasks out of the schedule. ARGV: own, now, then for each its task, its number, whether it is removed
-- ('remove') or its end has consequences, so that a worker must see it ('ready'), and for how many microseconds that is remembered.
-- What became ready meanwhile is passed over. Answers for each whether it was removed.
local answers = {}
for at = 3, #ARGV, 4 do
  local id, number, how, expires = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local list, raw = unschedule(number)
  local is_removed = list and how == 'remove'
  if is_removed then redis.call('ZADD', own .. 'revoked:removed', math.min(now + tonumber(expires), 9e15), id) end
  if list and how == 'ready' and failed(redis.pcall('RPUSH', list, raw)) then schedule(list, id, raw, now + 60 * 1000000) end
  answers[#answers + 1] = is_removed and 1 or 0
end
return answers
