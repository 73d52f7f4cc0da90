-- Settles deliveries, stores results and publishes follow-ups, all at once.
--
-- KEYS[3..]: the lists that something goes to.
-- ARGV: own, now, consumer, the usual time to live of a result, then for each finish: the delivery's number or '', how to
-- settle it (with its list and tail for 'back' and 'release'; with id, facts, list and tail for 'fail'), 'result' with key,
-- state, value and time to live, or '', the number of follow-ups, and for each its list, task id, message and `due` of `publish`.
-- Nearly all finishes are an acknowledgement and a success that lives as long as usual: the number, 'done', key and value.
-- Answers one digit for each finish: 1 done, 0 lost, 2 not done, because this consumer has settled that delivery before.
local consumer, usual = ARGV[3], ARGV[4]
local at, size = 4, #ARGV
local function take()
  at = at + 1
  return ARGV[at]
end

local READY = { SUCCESS = true, FAILURE = true, REVOKED = true }

-- A success stays for ever, and nothing that is final is replaced by what is not.
local store_result = among_results(function(key, state, value, ttl)
  local stored
  if ttl == '' then stored = redis.call('SET', key, value, 'NX')
  else stored = redis.call('SET', key, value, 'NX', 'PX', ttl) end
  if stored then
    tell(key, value)
    return
  end
  -- What is no text is no result, and gives way.
  local ok, old = pcall(cjson.decode, redis.pcall('GET', key))
  local before = ok and type(old) == 'table' and old.status
  if before == 'SUCCESS' or (READY[before] and not READY[state]) then return end
  if ttl == '' then redis.call('SET', key, value)
  else redis.call('SET', key, value, 'PX', ttl) end
  tell(key, value)
end)

-- The consumer settles what it was lent, unless it was forgotten in between.
local first
local function was_settled(number)
  if first == nil then
    local _, since = calls(consumer)
    first = since or false
  end
  return first and tonumber(number) >= first
end

local wrong = no_list_among_keys()
if wrong then return wrong end
local prefix = tag_of(consumer, '')
local answers, tags, numbers, back = {}, {}, {}, {}

-- Takes a delivery out of what is lent. If it is not lent any more, nothing of its finish happens.
local function settled(number, tag)
  if redis.call('HDEL', unacked, tag) == 0 then return false end
  tags[#tags + 1] = tag
  numbers[#numbers + 1] = number
  return true
end

while at < size do
  while ARGV[at + 2] == 'done' do
    local number, key, value = ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]
    at = at + 4
    local ours = settled(number, prefix .. number)
    answers[#answers + 1] = ours and 1 or was_settled(number) and 2 or 0
    if ours then store_result(key, 'SUCCESS', value, usual) end
  end
  if at == size then break end
  local number, settle = take(), take()
  local list, tail, id, facts
  if settle == 'fail' then id, facts = take(), take() end
  if settle ~= 'ack' then list, tail = take(), take() end
  local tag = prefix .. number
  local ours = true
  if number ~= '' then
    local entry = settle ~= 'ack' and redis.call('HGET', unacked, tag)
    ours = settled(number, tag)
    if ours and settle == 'back' then back[#back + 1] = { list, returned(unwrap(entry, tail), true) } end
    if ours and settle == 'release' then back[#back + 1] = { list, unwrap(entry, tail) } end
    if ours and settle == 'fail' then
      local raw = pristine(unwrap(entry, tail))
      local failed = string.format('%.0f', now) .. '\n' .. facts .. '\n' .. #list .. ':' .. list .. raw
      redis.call('ZADD', own .. 'failed', redis.call('INCR', own .. 'sequence'), id)
      redis.call('HSET', own .. 'failed:tasks', id, failed)
    end
  end
  answers[#answers + 1] = ours and 1 or was_settled(number) and 2 or 0
  if take() == 'result' then
    local key, state, value, ttl = take(), take(), take(), take()
    if ours then store_result(key, state, value, ttl) end
  end
  for _ = 1, tonumber(take()) do
    local to, of, raw, due = take(), take(), take(), take()
    if ours then publish(to, of, raw, due) end
  end
end
-- The head of a list is its right end, so the first goes there last.
for of = #back, 1, -1 do
  redis.call('RPUSH', back[of][1], back[of][2])
end
in_portions('ZREM', unacked_index, tags)
in_portions('HDEL', own .. 'lent:' .. consumer, numbers)
return answers
