-- Removes the scheduled messages of tasks. ARGV: own, now, then task ids. Answers how many messages of each there were.
local counts = {}
for at = 3, #ARGV do
  counts[#counts + 1] = cancel(ARGV[at])
end
return counts
