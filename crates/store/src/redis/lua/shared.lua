-- What several scripts share. It is put before each of them; `redis/script.rs` says how a script is called.
--
-- ARGV[1]: what our own keys begin with. ARGV[2]: the time in microseconds, or '' for the server's own clock; where results are
-- in another database than messages, a blank and the two databases follow.
-- KEYS[1], KEYS[2]: `unacked` and `unacked_index`, kombu's record of what is lent.

local own, now = ARGV[1], tonumber(ARGV[2])
local database, results_database
if not now and ARGV[2] ~= '' then
  now, database, results_database = string.match(ARGV[2], '^(%S*) (%d+) (%d+)$')
  now = tonumber(now)
end
local unacked, unacked_index = KEYS[1], KEYS[2]
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Going to the database of results and back may fail, so a script that will do so tries it before it changes anything.
-- A script's `SELECT` is over with the script.
local is_among_results, is_tried = false, false
local function try_databases()
  if is_tried then return end
  redis.call('SELECT', results_database)
  redis.call('SELECT', database)
  is_tried = true
end

-- The same function, done in the database of results: everything that touches keys of results goes through this, and is
-- made with it before the script changes anything. What it calls is done there as well.
local function among_results(action)
  if not results_database then return action end
  try_databases()
  return function(...)
    if is_among_results then return action(...) end
    redis.call('SELECT', results_database)
    is_among_results = true
    local one, two = action(...)
    redis.call('SELECT', database)
    is_among_results = false
    return one, two
  end
end

-- Calls a command that takes any number of arguments, in portions that fit Lua's stack, each behind the option if there is one.
local function in_portions(command, key, arguments, option)
  for first = 1, #arguments, 4000 do
    local last = math.min(first + 3999, #arguments)
    if option then redis.call(command, key, option, unpack(arguments, first, last))
    else redis.call(command, key, unpack(arguments, first, last)) end
  end
end

-- A server whose memory is full refuses a script at its first command that may take more, and lets a script go on that
-- has begun to write. What takes work off the server begins with a removal, so that it goes on then.
local function goes_on_when_full()
  redis.call('DEL', own .. 'nothing')
end

-- Redis undoes nothing of a script that fails, so what may fail comes before the first thing that must not be half done,
-- or is caught. An ACL may keep a user from a channel: then somebody hears late.
local function tell(channel, text)
  redis.pcall('PUBLISH', channel, text)
end

local function failed(answer)
  return type(answer) == 'table' and answer.err ~= nil
end

-- Nothing can be pushed to what is something else than a list. Says so, as an error to return.
local function no_list(key)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'list' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE the key ' .. key .. ' is a ' .. kind .. ' and should be a list')
  end
end

-- The same for the first that is none of the lists that a script names.
local function no_list_among_keys()
  for at = 3, #KEYS do
    local wrong = no_list(KEYS[at])
    if wrong then return wrong end
  end
end

-- Makes whoever waits look again at what time brings.
local function wake()
  tell(own .. 'wake', '')
end

-- How often a waiting message was delivered is noted behind its JSON: a line feed and the count in binary, a blank
-- for 0 and a tab for 1. JSON may end in white space, so kombu reads over it.
local function noted(raw)
  local last = string.byte(raw, -1)
  if last ~= 32 and last ~= 9 then return 0, raw end
  local digits = string.match(string.sub(raw, -40), '\n([ \t]+)$')
  if not digits then return 0, raw end
  local count = 0
  for at = 1, #digits do
    count = count * 2 + (string.byte(digits, at) == 9 and 1 or 0)
  end
  return count, string.sub(raw, 1, #raw - #digits - 1)
end

local function note(json, count)
  if count == 0 then return json end
  local digits = ''
  repeat
    digits = (count % 2 == 1 and '\t' or ' ') .. digits
    count = math.floor(count / 2)
  until count == 0
  return json .. '\n' .. digits
end

-- Sets `delivery_info.redelivered`, as `Channel._do_restore_message` does (kombu/transport/redis.py), in the text:
-- cjson would change numbers and empty lists. If the text has another form, the message stays without it.
local INFO, FLAG = '"delivery_info": {', '"redelivered": true, '

local function flagged(json)
  local first, last = string.find(json, INFO, 1, true)
  if not first or string.sub(json, last + 1, last + #FLAG) == FLAG then return json end
  local changed = string.sub(json, 1, last) .. FLAG .. string.sub(json, last + 1)
  local ok, message = pcall(cjson.decode, changed)
  local is_set = ok and type(message) == 'table' and type(message.properties) == 'table'
    and type(message.properties.delivery_info) == 'table' and message.properties.delivery_info.redelivered == true
  return is_set and changed or json
end

-- The message as it was before its first delivery.
local function pristine(raw)
  local _, json = noted(raw)
  local first, last = string.find(json, INFO .. FLAG, 1, true)
  if not first then return json end
  return string.sub(json, 1, last - #FLAG) .. string.sub(json, last + 1)
end

-- The message with one more delivery, or none more.
local function returned(raw, counts)
  if not counts then return raw end
  local count, json = noted(raw)
  return note(flagged(json), count + 1)
end

-- A lent message is kept as kombu keeps it: [message, exchange, routing key]. `tail` is what follows the message.
local function unwrap(entry, tail)
  return string.sub(entry, 2, #entry - #tail)
end

local function tag_of(consumer, number)
  return 'celeriac:' .. consumer .. ':' .. number
end

-- A scheduled message: the list it goes to, its task's id, and itself.
local function schedule(list, id, raw, due)
  local number = string.format('%016d', redis.call('INCR', own .. 'sequence'))
  local entry = #list .. ':' .. #id .. ':' .. list .. id .. raw
  local first = redis.call('ZRANGE', own .. 'schedule', 0, 0, 'WITHSCORES')
  redis.call('ZADD', own .. 'schedule', due, number)
  redis.call('HSET', own .. 'schedule:messages', number, entry)
  redis.call('HINCRBY', own .. 'schedule:counts', list, 1)
  if id ~= '' then
    local of_task = redis.call('HGET', own .. 'schedule:tasks', id)
    redis.call('HSET', own .. 'schedule:tasks', id, of_task and of_task .. ' ' .. number or number)
  end
  if not first[2] or due < tonumber(first[2]) then wake() end
end

-- One scheduled message: its list, itself and its task's id, or nothing.
local function scheduled(number)
  local entry = redis.call('HGET', own .. 'schedule:messages', number)
  if not entry then return end
  local list_size, id_size, start = string.match(entry, '^(%d+):(%d+):()')
  local list = string.sub(entry, start, start + list_size - 1)
  local id = string.sub(entry, start + list_size, start + list_size + id_size - 1)
  return list, string.sub(entry, start + list_size + id_size), id
end

-- The same, and takes it out of the schedule.
local function unschedule(number)
  local list, raw, id = scheduled(number)
  redis.call('ZREM', own .. 'schedule', number)
  if not list then return end
  redis.call('HDEL', own .. 'schedule:messages', number)
  if redis.call('HINCRBY', own .. 'schedule:counts', list, -1) <= 0 then
    redis.call('HDEL', own .. 'schedule:counts', list)
  end
  if id ~= '' then
    local left = {}
    for other in string.gmatch(redis.call('HGET', own .. 'schedule:tasks', id) or '', '%d+') do
      if other ~= number then left[#left + 1] = other end
    end
    if #left == 0 then redis.call('HDEL', own .. 'schedule:tasks', id)
    else redis.call('HSET', own .. 'schedule:tasks', id, table.concat(left, ' ')) end
  end
  return list, raw, id
end

-- Removes the scheduled messages of a task and says how many there were.
local function cancel(id)
  local numbers = redis.call('HGET', own .. 'schedule:tasks', id)
  local count = 0
  for number in string.gmatch(numbers or '', '%d+') do
    if unschedule(number) then count = count + 1 end
  end
  return count
end

-- The number of a consumer's last call, and that of the first delivery it has had since it was forgotten last, if any.
local function calls(consumer)
  local last, first = string.match(redis.call('HGET', own .. 'calls', consumer) or '', '^(%d+) ?(%d*)')
  return tonumber(last) or 0, tonumber(first)
end

-- Publishes one message: into its list, or into the schedule until it is due. `due` says when, and in how many
-- microseconds from now by the clock of who publishes it; or it is empty.
local function publish(list, id, raw, due)
  local at, within = string.match(due, '^(%S+) (%d+)$')
  at, within = tonumber(at), tonumber(within)
  -- Not yet due where it comes from, and overdue by the clock of this server.
  if at and at <= now and within > 0 then at = now + within end
  if at and at > now then schedule(list, id, raw, at)
  else redis.call('LPUSH', list, raw) end
end

-- What a forgotten consumer had that went back, for as long as it may come back and ask what became of its deliveries: their
-- numbers, and from which number on this says all.
local function note_returned(consumer, first, numbers)
  local key = own .. 'returned:' .. consumer
  redis.call('HSETNX', key, 'since', first)
  local fields = {}
  for _, number in ipairs(numbers) do
    fields[#fields + 1], fields[#fields + 2] = number, ''
  end
  in_portions('HSET', key, fields)
  redis.call('EXPIRE', key, 3600)
end

-- Whether a consumer has settled a delivery that is not lent to it any more.
local function has_settled(consumer, number)
  local _, first = calls(consumer)
  if first and number >= first then return true end
  local key = own .. 'returned:' .. consumer
  local since = tonumber(redis.call('HGET', key, 'since'))
  return since ~= nil and number >= since and redis.call('HEXISTS', key, number) == 0
end

-- Gives back everything that a consumer has, in the order it was taken, and forgets the consumer. `counts` says that it fell
-- silent: these deliveries count, and it may come back.
local function give_back_all(consumer, counts)
  local record = redis.call('HGET', own .. 'consumers', consumer)
  local _, first = calls(consumer)
  redis.call('HDEL', own .. 'consumers', consumer)
  redis.call('HDEL', own .. 'calls', consumer)
  redis.call('ZREM', own .. 'leases', consumer)
  if not record then return end
  record = cjson.decode(record)
  local lent = redis.call('HGETALL', own .. 'lent:' .. consumer)
  redis.call('DEL', own .. 'lent:' .. consumer)
  local numbers, places = {}, {}
  for at = 1, #lent, 2 do
    numbers[#numbers + 1] = tonumber(lent[at])
    places[tonumber(lent[at])] = lent[at + 1]
  end
  table.sort(numbers, function(one, other) return one > other end)
  if counts and first then note_returned(consumer, first, numbers) end
  for _, number in ipairs(numbers) do
    local tag = tag_of(consumer, string.format('%d', number))
    local entry = redis.call('HGET', unacked, tag)
    if entry then
      local place, started = string.match(places[number], '^(%d+)(s?)')
      local raw = unwrap(entry, record.tails[tonumber(place)])
      raw = returned(raw, counts and (started == 's' or noted(raw) == 0))
      -- What cannot go back stays, and is overdue one day.
      if not failed(redis.pcall('RPUSH', record.lists[tonumber(place)], raw)) then
        redis.call('HDEL', unacked, tag)
        redis.call('ZREM', unacked_index, tag)
      end
    else
      redis.call('ZREM', unacked_index, tag)
    end
  end
end

-- Does what time brings: due messages become ready, what silent consumers had goes back. A message whose list is none is
-- tried again in a minute: nobody else must wait for it.
local function pass_time(myself)
  for _, number in ipairs(redis.call('ZRANGEBYSCORE', own .. 'schedule', '-inf', now, 'LIMIT', 0, 1000)) do
    local list, raw, id = unschedule(number)
    if list and failed(redis.pcall('LPUSH', list, raw)) then schedule(list, id, raw, now + 60 * 1000000) end
  end
  for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', own .. 'leases', '-inf', now, 'LIMIT', 0, 10)) do
    if consumer ~= myself then give_back_all(consumer, true) end
  end
end

-- Microseconds until there is something for `pass_time` to do, or false.
local function next_event(myself)
  local first = redis.call('ZRANGE', own .. 'schedule', 0, 0, 'WITHSCORES')[2]
  local soonest = first and tonumber(first)
  local leases = redis.call('ZRANGE', own .. 'leases', 0, 1, 'WITHSCORES')
  for at = 1, #leases, 2 do
    local ends = tonumber(leases[at + 1])
    if leases[at] ~= myself and (not soonest or ends < soonest) then soonest = ends end
  end
  return soonest and math.max(soonest - now, 0) or false
end

-- The consumer is there: its lease runs anew. Says whether it had been forgotten meanwhile.
local function attend(consumer, lease, record)
  if redis.call('ZADD', own .. 'leases', math.min(now + lease, 9e15), consumer) == 0 then return false end
  redis.call('HSET', own .. 'consumers', consumer, record)
  -- It may be the next to fall silent.
  if redis.call('ZRANK', own .. 'leases', consumer) == 0 then wake() end
  return true
end
