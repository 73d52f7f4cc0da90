-- What groups are made of, and chords that begin. Put before the scripts that need it; it needs nothing else.
--
-- A chord is five keys of Celery's result backend, `celery-taskset-meta-GROUP` with an ending: `.s` is how many members it
-- waits for, `.t` how many were added, `.j` what they reported (in a sorted set by place, or in a list as it came), `.d` who
-- reported, as ID:PLACE, and `.c` who sends the body: somebody's claim, or 'done'. 5.5 and 5.6 know neither `.d` nor `.c`.
-- Source: celery/backends/redis.py, Celery 5.7.0, 5.6.3 and 5.5.3.
--
-- In ARGV each kind of thing follows its number. A time to live in milliseconds is '' for what is kept for ever.

-- Chords as this script knows them, by key.
local chords = {}

local function set(key, value, ttl)
  if ttl == '' then redis.call('SET', key, value)
  else redis.call('SET', key, value, 'PX', ttl) end
end

-- Whether a chord is over: its body was sent, or a stock worker found it failed, which leaves the claim without a size.
local function is_over(claim, size)
  return claim == 'done' or (claim and not size)
end

-- A chord that exists keeps what its members have reported, who may have been faster than their sender.
local function begin_chord(key, size, ttl)
  local found = redis.call('MGET', key .. '.c', key .. '.s')
  if is_over(found[1], found[2]) then
    redis.call('UNLINK', key .. '.j', key .. '.t', key .. '.d', key .. '.c')
  elseif redis.call('EXISTS', key .. '.j') == 0 then
    -- A worker before 5.7 has closed it, and does not know of those who had reported to others.
    redis.call('UNLINK', key .. '.d')
  end
  if ttl ~= '' then
    for _, ending in ipairs({ '.j', '.t', '.d' }) do redis.call('PEXPIRE', key .. ending, ttl) end
  end
  set(key .. '.s', size, ttl)
  chords[key] = nil
end

-- What is no number has never counted, and gives way.
local function await_more(key, by)
  if type(redis.pcall('INCRBY', key .. '.t', by)) == 'table' then redis.call('SET', key .. '.t', by) end
end

local DAY = 24 * 3600 * 1000

-- A chord without a size may still be given one: members that were faster than their sender may add others.
local function extend_chord(key, by)
  local found = redis.call('MGET', key .. '.c', key .. '.s')
  if is_over(found[1], found[2]) then return end
  await_more(key, by)
  local left = redis.call('PTTL', key .. (found[2] and '.s' or '.j'))
  if left ~= -1 then redis.call('PEXPIRE', key .. '.t', left > 0 and left or DAY) end
  chords[key] = nil
end

-- Begins and extends chords, and saves groups: what comes with messages. Takes them from ARGV behind `at`; answers where they end.
local function begin(at)
  local ends = at + 1 + 3 * ARGV[at + 1]
  for of = at + 2, ends, 3 do begin_chord(ARGV[of], ARGV[of + 1], ARGV[of + 2]) end
  at, ends = ends, ends + 1 + 2 * ARGV[ends + 1]
  for of = at + 2, ends, 2 do extend_chord(ARGV[of], ARGV[of + 1]) end
  at, ends = ends, ends + 1 + 3 * ARGV[ends + 1]
  for of = at + 2, ends, 3 do set(ARGV[of], ARGV[of + 1], ARGV[of + 2]) end
  return ends
end
