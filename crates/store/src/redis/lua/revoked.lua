-- Which of these tasks are revoked, as 1 and 0. ARGV: own, now, then task ids.
local answers = {}
for at = 3, #ARGV do
  local ends = redis.call('ZSCORE', own .. 'revoked', ARGV[at])
  answers[#answers + 1] = ends and tonumber(ends) > now and 1 or 0
end
return answers
