-- Gives back what `overdue.lua` found, unless somebody has settled it, restored it or given a sign meanwhile: then it is not
-- in `unacked` any more, or has another score.
--
-- ARGV: own, now, then for each its tag, its score, the number of its lists, and for each of these the list and the
-- message. The first comes to lie at the head of its list last. Answers how many were given back.
local restored, at = 0, 3
while at < #ARGV do
  local tag, score, lists = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local wrong
  for list = at, at + 2 * lists - 1, 2 do wrong = wrong or no_list(ARGV[list]) end
  local there = not wrong and redis.call('ZSCORE', unacked_index, tag) == score and redis.call('HDEL', unacked, tag) == 1
  if there then
    redis.call('ZREM', unacked_index, tag)
    restored = restored + 1
  end
  for _ = 1, lists do
    if there then redis.call('RPUSH', ARGV[at], ARGV[at + 1]) end
    at = at + 2
  end
end
return restored
