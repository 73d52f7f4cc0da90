-- Lends up to `limit` messages to a consumer. Does first what time brings.
--
-- KEYS[3..]: the lists, in the order of taking.
-- ARGV: own, now, consumer, lease, its record, the number of this call, the number of the first delivery, limit,
-- whether to answer what an earlier call with this first number took instead of taking more, then for each list its
-- place in the record and its tail.
-- Answers {what?, microseconds until the next event or false, revoked tasks, consumers, place, number, messages, ...}, where
-- the messages of a place have the numbers from there on, and `what` is 'stale' for a call that a later one overtook, 'new'
-- for a consumer that had been forgotten, else 'known'.
local consumer, lease, record, call = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local number, limit, again = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] == '1'

-- A call that the network held back must not take messages that nobody waits for any more.
local last, first = calls(consumer)
if last >= call then return { 'stale' } end
goes_on_when_full()

pass_time(consumer)
local what = attend(consumer, lease, record) and 'new' or 'known'
redis.call('HSET', own .. 'calls', consumer, string.format('%d %d', call, first or number))
local answer = { what, next_event(consumer), redis.call('ZCARD', own .. 'revoked'), redis.call('ZCARD', own .. 'leases') }

if again then
  local tails = {}
  for at = 3, #KEYS do tails[ARGV[4 + 2 * at]] = ARGV[5 + 2 * at] end
  local lent = redis.call('HGETALL', own .. 'lent:' .. consumer)
  for at = 1, #lent, 2 do
    local place = string.match(lent[at + 1], '^%d+')
    local tag = tag_of(consumer, lent[at])
    local entry = tonumber(lent[at]) >= number and redis.call('HGET', unacked, tag)
    if entry then
      answer[#answer + 1] = tonumber(place)
      answer[#answer + 1] = tonumber(lent[at])
      answer[#answer + 1] = { unwrap(entry, tails[place]) }
    end
  end
  if #answer > 4 then return answer end
end

-- Fails here if these keys are of another kind, and not when there is something to record.
redis.call('HLEN', unacked)
redis.call('ZCARD', unacked_index)
-- The server's Lua goes over every byte of every new string, so there are two of each message, and no more: as it was in
-- its list, and as it is kept.
local prefix, score = tag_of(consumer, ''), string.format('%.6f', now / 1000000)
local bodies, scores, lent, taken = {}, {}, {}, 0
local trouble
for at = 3, #KEYS do
  if taken >= limit then break end
  local place, tail = ARGV[4 + 2 * at], ARGV[5 + 2 * at]
  local popped = redis.pcall('RPOP', KEYS[at], limit - taken) or {}
  -- The other lists go on, and what came from them is recorded.
  if failed(popped) then trouble, popped = popped, {} end
  if #popped > 0 then
    local answered = #answer
    answer[answered + 1], answer[answered + 2], answer[answered + 3] = tonumber(place), number, popped
  end
  for of = 1, #popped do
    local digits = string.format('%d', number)
    local tag = prefix .. digits
    local one, two = 2 * taken + 1, 2 * taken + 2
    bodies[one], bodies[two] = tag, '[' .. popped[of] .. tail
    scores[one], scores[two] = score, tag
    lent[one], lent[two] = digits, place
    number, taken = number + 1, taken + 1
  end
end
if taken == 0 and trouble then return trouble end
in_portions('HSET', unacked, bodies)
in_portions('ZADD', unacked_index, scores)
in_portions('HSET', own .. 'lent:' .. consumer, lent)
return answer
