-- What stock workers hold for longer than the visibility timeout, the oldest first. Index entries of nothing are removed.
--
-- ARGV: own, now, visibility timeout (microseconds), how many to pass over, how many to look at.
-- Answers {how many were looked at, how many of them stay with a consumer of ours, tag, score, entry, ...}.
local latest = string.format('%.6f', (now - tonumber(ARGV[3])) / 1000000)
local found = redis.call('ZRANGEBYSCORE', unacked_index, '-inf', latest, 'WITHSCORES', 'LIMIT', ARGV[4], ARGV[5])
local answer = { #found / 2, 0 }
for at = 1, #found, 2 do
  local tag = found[at]
  local consumer = string.match(tag, '^celeriac:(.*):%d+$')
  local entry = redis.call('HGET', unacked, tag)
  if not entry then
    redis.call('ZREM', unacked_index, tag)
  elseif consumer and redis.call('HEXISTS', own .. 'consumers', consumer) == 1 then
    -- Its lease says when it goes back.
    answer[2] = answer[2] + 1
  else
    answer[#answer + 1] = tag
    answer[#answer + 1] = found[at + 1]
    answer[#answer + 1] = entry
  end
end
return answer
