-- Counts parts, with what follows, or says what counting them would bring. ARGV: own, now, 'count' or 'foresee', how many parts,
-- and these. Answers for each 'open', 'last', 'failed' or 'over'.
local foresees = ARGV[3] == 'foresee'
local answers, at, chords_then = {}, 4, {}
for _ = 1, tonumber(ARGV[4]) do
  local brought
  if foresees then
    local part = part_at(at)
    brought = foresee(chords_then, part)
    at = at + PART + (part.closing or 0)
  else
    at, brought = count(at)
  end
  answers[#answers + 1] = brought
end
prolong()
return answers
