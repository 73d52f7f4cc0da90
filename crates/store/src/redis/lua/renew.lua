-- Makes the lease of a consumer and of all it has run anew. ARGV: own, now, consumer, lease, its record.
-- Answers 1 if it had been forgotten meanwhile, and so has lost everything.
local consumer = ARGV[3]
goes_on_when_full()
pass_time(consumer)
local forgotten = attend(consumer, tonumber(ARGV[4]), ARGV[5])
local score = string.format('%.6f', now / 1000000)
local scores = {}
for _, number in ipairs(redis.call('HKEYS', own .. 'lent:' .. consumer)) do
  scores[#scores + 1] = score
  scores[#scores + 1] = tag_of(consumer, number)
end
in_portions('ZADD', unacked_index, scores, 'XX')
return forgotten and 1 or 0
