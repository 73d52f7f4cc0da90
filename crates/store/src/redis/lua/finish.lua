-- Settles deliveries, stores results and publishes follow-ups, all at once.
--
-- KEYS[3..]: the lists that something goes to.
-- ARGV: own, now, consumer, the usual time to live of a result, '1' where places order what members of chords report, then for
-- each finish: the delivery's number or '', how to settle it (with its list and tail for 'back' and 'release'; with id, facts,
-- list and tail for 'fail'), 'result' with key, state, value and time to live, or '', the number of follow-ups, and for each its
-- list, task id, message and `due` of `publish`.
-- Nearly all finishes are an acknowledgement and a success that lives as long as usual: the number, 'done', key and value. Of
-- those with a workflow nearly all are the same of a member that tells its chord of it: the number, 'member', key, value, the
-- chord, ID:PLACE, and what Celery keeps of it there.
-- Before another finish with a workflow stand 'workflow', how many arguments that has, and these, as `apply` in `chords.lua`
-- takes them.
-- Answers one digit for each finish: 1 done, 0 lost, 2 not done, because this consumer has settled that delivery before, 3 for one
-- that would complete a chord and has to say what follows.
local consumer, usual, is_ordered = ARGV[3], ARGV[4], ARGV[5] == '1'
local at, size = 5, #ARGV
local function take()
  at = at + 1
  return ARGV[at]
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

-- Takes a success out of what is lent and stores it.
local function succeeded(number, key, value)
  local ours = settled(number, prefix .. number)
  answers[#answers + 1] = ours and 1 or has_settled(consumer, tonumber(number)) and 2 or 0
  if ours then store_result(key, 'SUCCESS', value, usual) end
  return ours
end

-- Finishes members of one chord that leave it open, whatever else is known of them, as many as come next.
local MEMBER, MOST = 7, 1000
local function finish_many(chord)
  local members, values = {}, {}
  while ARGV[at + 2] == 'member' and ARGV[at + 5] == chord.key and #members < MOST and leaves_open(chord, #members) do
    if succeeded(ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]) then
      members[#members + 1], values[#values + 1] = ARGV[at + 6], ARGV[at + 7]
    end
    at = at + MEMBER
  end
  if #members > 0 then add_many(chord, members, values, is_ordered, usual) end
end

-- Finishes one member, or says that it has to say what follows.
local function finish_one()
  local number, key, value = ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]
  local part = {
    chord = ARGV[at + 5], member = ARGV[at + 6], value = ARGV[at + 7], is_ordered = is_ordered, adds = 0, ttl = usual,
  }
  at = at + MEMBER
  if redis.call('HEXISTS', unacked, prefix .. number) == 1 and part_asks(part) then
    answers[#answers + 1] = 3
  elseif succeeded(number, key, value) then
    count_part(part)
  end
end

-- Finishes one of any other form.
local function finish_other()
  local workflow = ARGV[at + 1] == 'workflow' and at + 2
  if workflow then at = workflow + ARGV[workflow] end
  local number, settle = take(), take()
  local list, tail, id, facts
  if settle == 'fail' then id, facts = take(), take() end
  if settle ~= 'ack' then list, tail = take(), take() end
  local tag = prefix .. number
  local completes = workflow and (number == '' or redis.call('HEXISTS', unacked, tag) == 1) and asks(workflow)
  local ours = not completes
  if ours and number ~= '' then
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
  answers[#answers + 1] = ours and 1 or completes and 3 or has_settled(consumer, tonumber(number)) and 2 or 0
  if take() == 'result' then
    local key, state, value, ttl = take(), take(), take(), take()
    if ours then store_result(key, state, value, ttl) end
  end
  for _ = 1, tonumber(take()) do
    local to, of, raw, due = take(), take(), take(), take()
    if ours then publish(to, of, raw, due) end
  end
  if workflow and ours then apply(workflow) end
end

while at < size do
  local form = ARGV[at + 2]
  if form == 'done' then
    succeeded(ARGV[at + 1], ARGV[at + 3], ARGV[at + 4])
    at = at + 4
  elseif form == 'member' then
    local chord = chord_of(ARGV[at + 5])
    if leaves_open(chord, 0) then finish_many(chord) else finish_one() end
  else
    finish_other()
  end
end
prolong()
-- The head of a list is its right end, so the first goes there last.
for of = #back, 1, -1 do
  redis.call('RPUSH', back[of][1], back[of][2])
end
in_portions('ZREM', unacked_index, tags)
in_portions('HDEL', own .. 'lent:' .. consumer, numbers)
return answers
