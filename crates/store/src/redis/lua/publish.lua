-- Publishes messages of which some are for later. ARGV: own, now, what begins with them as `begin` takes it, then for each its list,
-- task id, message and `due` of `publish`.
-- KEYS[3..]: the lists.
begin = among_results(begin)
local wrong = no_list_among_keys()
if wrong then return wrong end
for at = begin(2) + 1, #ARGV, 4 do
  publish(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
end
return #ARGV
