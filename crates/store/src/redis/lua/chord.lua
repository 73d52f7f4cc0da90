-- What a chord waits for. ARGV: own, now, chord, 1 if only the count of the parts is asked for. Answers nothing if it is
-- closed, or nobody has begun it or reported to it; else {size or false, {{part, place or ''}, ...}}, or how many parts there are
-- in their place.
local chord = chord_of(ARGV[3])
if chord.over or (not chord.size and chord.count == 0) then return false end
local size = chord.size and chord.size + chord.more or false
if ARGV[4] == '1' then return { size, chord.count } end
local read = among_results(function()
  local parts = {}
  if chord.kind == 'zset' then
    local found = redis.call('ZRANGE', chord.key .. '.j', 0, -1, 'WITHSCORES')
    for at = 1, #found, 2 do parts[#parts + 1] = { found[at], found[at + 1] } end
  elseif chord.kind == 'list' then
    for _, part in ipairs(redis.call('LRANGE', chord.key .. '.j', 0, -1)) do parts[#parts + 1] = { part, '' } end
  end
  return parts
end)
return { size, read() }
