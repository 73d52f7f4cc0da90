-- Notes that the tasks of these deliveries run. ARGV: own, now, consumer, then the numbers of the deliveries.
local lent = own .. 'lent:' .. ARGV[3]
for at = 4, #ARGV do
  local place = redis.call('HGET', lent, ARGV[at])
  if place then redis.call('HSET', lent, ARGV[at], string.match(place, '^%d+') .. 's') end
end
return 1
