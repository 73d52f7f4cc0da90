-- Counting the members of chords, and what follows when one is closed. Put behind `shared.lua` and `groups.lua`.

-- What an early failure adds to `.d`: one that came before anybody had said how many members there are.
local FAILED = 'failed'

-- Which chords had something added, with their new time to live.
local touched = {}

local function chord_of(key)
  local chord = chords[key]
  if chord then return chord end
  local found = redis.call('MGET', key .. '.c', key .. '.s', key .. '.t')
  local kind = redis.call('TYPE', key .. '.j').ok
  chord = { key = key, claim = found[1], kind = kind, more = tonumber(found[3]) or 0, seen = {}, count = 0 }
  chord.over = is_over(found[1], found[2])
  chord.size = tonumber(found[2])
  if kind == 'zset' then chord.count = redis.call('ZCARD', key .. '.j') end
  if kind == 'list' then chord.count = redis.call('LLEN', key .. '.j') end
  local known = redis.pcall('SCARD', key .. '.d')
  if failed(known) or kind ~= 'zset' and kind ~= 'list' and kind ~= 'none' then
    -- Somebody else's keys. Nothing can be counted, and a script that fails here would be half done.
    chord.over, known = true, 0
  end
  chord.failed = not chord.over and redis.call('SISMEMBER', key .. '.d', FAILED) == 1
  -- Workers before 5.7 count without `.d`.
  chord.known = known - (chord.failed and 1 or 0)
  chords[key] = chord
  return chord
end

-- What stands behind the last colon. The pattern is tried once: one that began with it would be tried at every character.
local function place_of(member)
  return string.match(member, '^.*:(.*)$')
end

-- Whether a worker before 5.7 has counted this part: it then knows the member by what it reported at this place.
local function is_counted_elsewhere(chord, part)
  if chord.count <= chord.known then return false end
  if chord.kind == 'list' then
    return redis.call('LPOS', chord.key .. '.j', part.value, 'RANK', -1, 'MAXLEN', 1000) and true
  end
  local whose = string.match(part.value, '^%[1, ".-", "')
  local place = place_of(part.member)
  for _, value in ipairs(redis.call('ZRANGEBYSCORE', chord.key .. '.j', place, place)) do
    if whose and string.sub(value, 1, #whose) == whose then return true end
  end
  return false
end

-- What a part would bring: 'open', 'last', 'failed' or 'over'.
local function judge(chord, part)
  -- Who has the claim sends the body. If it dies before, the redelivery of its own message does that once the claim has expired.
  if chord.over or chord.claim then return 'over' end
  local total = chord.size and chord.size + chord.more + part.adds
  local is_new = not chord.seen[part.member] and (chord.is_new
    or redis.call('SISMEMBER', chord.key .. '.d', part.member) == 0 and not is_counted_elsewhere(chord, part))
  -- All have reported and nobody claims the body: who should have sent it has died.
  if not is_new and not (total and chord.count >= total) then return 'over' end
  -- Before the size is known a failure is only kept: it might be late, of a chord that is forgotten.
  if not total then return 'open' end
  if part.fails or chord.failed then return 'failed' end
  return (not is_new or chord.count + 1 >= total) and 'last' or 'open'
end

-- Whether a success is not the last of its chord, whatever else is known of it: what nearly all are.
local function is_one_of_many(chord, part)
  return not (part.fails or chord.failed or chord.over or chord.claim)
    and not (chord.size and chord.count + 1 >= chord.size + chord.more + part.adds)
end

-- A sorted set keeps equal texts once, but a call may stand at two places, and JSON may end in blanks.
local function place_beside(key, place, value)
  while redis.call('ZADD', key .. '.j', 'NX', place, value) == 0 do value = value .. ' ' end
end

-- The same of a success, behind so many others, in a chord that only workers count that note who has reported.
local function leaves_open(chord, others)
  return chord.size and chord.count + others + 1 < chord.size + chord.more and chord.count == chord.known
    and not (chord.failed or chord.over or chord.claim)
end

local function keep(chord, part)
  local key = chord.key
  if chord.kind == 'none' then chord.kind = not part.is_ordered and 'list' or 'zset' end
  if chord.kind == 'list' then
    redis.call('RPUSH', key .. '.j', part.value)
  else
    place_beside(key, place_of(part.member), part.value)
  end
  if part.adds > 0 then
    await_more(key, part.adds)
    chord.more = chord.more + part.adds
  end
  chord.count, chord.known = chord.count + 1, chord.known + 1
  touched[key] = part.ttl
end

-- Counts a member of which `judge` says that the chord stays open.
local function add(chord, part)
  redis.call('SADD', chord.key .. '.d', part.member)
  if part.fails then
    redis.call('SADD', chord.key .. '.d', FAILED)
    chord.failed = true
  end
  keep(chord, part)
end

-- The same for one of many, in fewer steps.
local function add_one_of_many(chord, part)
  if redis.call('SADD', chord.key .. '.d', part.member) == 0 then return 'over' end
  if is_counted_elsewhere(chord, part) then
    chord.known, touched[chord.key] = chord.known + 1, part.ttl
    return 'over'
  end
  keep(chord, part)
  return 'open'
end

-- The same for many successes of one chord: `members` and, at the same places, what they reported.
local function add_many(chord, members, values, is_ordered, ttl)
  local known = redis.call('SMISMEMBER', chord.key .. '.d', unpack(members))
  local fresh, kept, seen = {}, {}, {}
  for at, member in ipairs(members) do
    if known[at] == 0 and not seen[member] then
      seen[member], fresh[#fresh + 1], kept[#kept + 1] = true, member, values[at]
    end
  end
  if #fresh == 0 then return end
  redis.call('SADD', chord.key .. '.d', unpack(fresh))
  if chord.kind == 'none' then chord.kind = not is_ordered and 'list' or 'zset' end
  if chord.kind == 'list' then
    redis.call('RPUSH', chord.key .. '.j', unpack(kept))
  else
    local placed = {}
    for at, value in ipairs(kept) do
      placed[2 * at - 1], placed[2 * at] = place_of(fresh[at]), value
    end
    if redis.call('ZADD', chord.key .. '.j', 'NX', unpack(placed)) < #kept then
      -- One call stands at several places.
      for at, value in ipairs(kept) do
        local place = placed[2 * at - 1]
        if tonumber(redis.call('ZSCORE', chord.key .. '.j', value)) ~= tonumber(place) then
          place_beside(chord.key, place, value)
        end
      end
    end
  end
  chord.count, chord.known = chord.count + #fresh, chord.known + #fresh
  touched[chord.key] = ttl
end

-- Closes a chord. Who reports later finds it over, for as long as it would have waited.
local function close(chord, ttl)
  local key = chord.key
  -- Out of the way at once: what a hundred thousand members reported is freed beside the server's work.
  redis.call('UNLINK', key .. '.j', key .. '.t', key .. '.s', key .. '.d')
  set(key .. '.c', 'done', ttl)
  chord.over, touched[key] = true, nil
end

-- Chords are kept where results are.
begin, chord_of, judge = among_results(begin), among_results(chord_of), among_results(judge)
add, add_one_of_many, add_many = among_results(add), among_results(add_one_of_many), among_results(add_many)
close = among_results(close)

local PART = 8

-- One part in ARGV behind `at`: chord, ID:PLACE, '1' where places order the results, '1' if it is a failure, what Celery keeps of
-- it, how many members it adds, time to live, and of how many arguments the consequences of closing the chord consist that
-- follow it: '' for unknown ones.
-- Who asks whether it closes its chord is mostly counted right after that, so the last one read is kept.
local last_at, last_part
local function part_at(at)
  if at == last_at then return last_part end
  last_at, last_part = at, {
    chord = ARGV[at + 1], member = ARGV[at + 2], is_ordered = ARGV[at + 3] == '1',
    fails = ARGV[at + 4] == '1', value = ARGV[at + 5], adds = tonumber(ARGV[at + 6]), ttl = ARGV[at + 7],
    closing = tonumber(ARGV[at + 8]),
  }
  return last_part
end

local apply

-- Counts one part, and does what follows, which ARGV says behind `at`; answers what it brought.
local function count_part(part, at)
  local chord = chord_of(part.chord)
  if is_one_of_many(chord, part) then return add_one_of_many(chord, part) end
  local brought = judge(chord, part)
  if brought == 'open' then
    add(chord, part)
  elseif brought ~= 'over' and part.closing then
    close(chord, part.ttl)
    apply(at)
  end
  return brought
end

-- The same for one in ARGV; answers also where it ends.
local function count(at)
  local part = part_at(at)
  at = at + PART
  return at + (part.closing or 0), count_part(part, at)
end

-- Does what ARGV says behind `at`: what begins, results (key, state, record, time to live), messages (list, task id, envelope, `due`
-- of `publish`), parts. Answers where that ends.
function apply(at)
  at = begin(at)
  local ends = at + 1 + 4 * ARGV[at + 1]
  for of = at + 2, ends, 4 do store_result(ARGV[of], ARGV[of + 1], ARGV[of + 2], ARGV[of + 3]) end
  at, ends = ends, ends + 1 + 4 * ARGV[ends + 1]
  for of = at + 2, ends, 4 do publish(ARGV[of], ARGV[of + 1], ARGV[of + 2], ARGV[of + 3]) end
  at = ends + 1
  for _ = 1, tonumber(ARGV[ends + 1]) do at = count(at) end
  return at
end

-- A chord as it would be; what is done to this is not done to the chord.
local function foreseen(chords_then, key)
  local chord = chords_then[key]
  if not chord then
    chord = setmetatable({ seen = {} }, { __index = chord_of(key) })
    chords_then[key] = chord
  end
  return chord
end

-- What a part would bring, after those foreseen before.
local function foresee(chords_then, part)
  local chord = foreseen(chords_then, part.chord)
  local brings = judge(chord, part)
  if brings == 'open' then
    chord.seen[part.member], chord.count, chord.failed = true, chord.count + 1, chord.failed or part.fails
    chord.more = chord.more + part.adds
  end
  chord.over = chord.over or (brings ~= 'open' and brings ~= 'over' and part.closing ~= nil)
  return brings
end

-- Whether a part that does not know its closing would close its chord.
local function part_asks(part)
  local chord = chord_of(part.chord)
  if is_one_of_many(chord, part) then return false end
  local brings = judge(chord, part)
  return brings == 'last' or brings == 'failed'
end

-- Whether something that `apply` would do asks first: a part that would close its chord without knowing what follows.
local function asks(at)
  -- Nearly always a success tells one chord, and nothing else happens.
  if ARGV[at + 1] == '0' and ARGV[at + 2] == '0' and ARGV[at + 3] == '0' and ARGV[at + 4] == '0' and ARGV[at + 5] == '0'
    and ARGV[at + 6] == '1' then
    local part = part_at(at + 6)
    return not part.closing and part_asks(part)
  end
  local chords_then = {}
  local ends = at + 1 + 3 * ARGV[at + 1]
  for of = at + 2, ends, 3 do
    local chord = foreseen(chords_then, ARGV[of])
    if chord.over then
      chord.is_new, chord.over, chord.claim, chord.count, chord.more, chord.failed = true, false, false, 0, 0, false
    end
    chord.size = tonumber(ARGV[of + 1])
  end
  at, ends = ends, ends + 1 + 2 * ARGV[ends + 1]
  for of = at + 2, ends, 2 do
    local chord = foreseen(chords_then, ARGV[of])
    chord.more = chord.more + ARGV[of + 1]
  end
  for _, width in ipairs({ 3, 4, 4 }) do ends = ends + 1 + width * ARGV[ends + 1] end
  at = ends + 1
  for _ = 1, tonumber(ARGV[at]) do
    local part = part_at(at)
    local brings = foresee(chords_then, part)
    if not part.closing and (brings == 'last' or brings == 'failed') then return true end
    at = at + PART + (part.closing or 0)
  end
  return false
end

-- Once all is counted: what members have reported lives on from now, and what a saved group is made of at least as long.
local prolong = among_results(function()
  for key, ttl in pairs(touched) do
    if ttl ~= '' then
      for _, ending in ipairs({ '.j', '.t', '.s', '.d' }) do redis.call('PEXPIRE', key .. ending, ttl) end
      local left = redis.call('PTTL', key)
      if left >= 0 and left < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
    end
  end
end)
