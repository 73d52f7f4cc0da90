-- Publishes failed tasks again and forgets their results. ARGV: own, now, then the id and the key of the result of each.
-- Answers how many that were. Those whose bytes are no message stay: they have no list.
local forget = among_results(function(key) redis.call('DEL', key) end)
local count = 0
for at = 3, #ARGV, 2 do
  local failed = redis.call('HGET', own .. 'failed:tasks', ARGV[at])
  local size, start = string.match(failed or '', '^%d+\n[^\n]*\n(%d+):()')
  if size and size ~= '0' then
    redis.call('LPUSH', string.sub(failed, start, start + size - 1), string.sub(failed, start + size))
    redis.call('HDEL', own .. 'failed:tasks', ARGV[at])
    redis.call('ZREM', own .. 'failed', ARGV[at])
    forget(ARGV[at + 1])
    count = count + 1
  end
end
return count
