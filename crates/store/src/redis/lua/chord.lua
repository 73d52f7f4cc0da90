-- How far a chord is. ARGV: own, now, chord. Answers nothing if it is closed, or nobody has begun it or reported to it; else
-- {size or false, how many have reported, whether their places order them}: what they reported may be much, and is read in
-- portions.
local chord = chord_of(ARGV[3])
if chord.over or (not chord.size and chord.count == 0) then return false end
return { chord.size and chord.size + chord.more or false, chord.count, chord.kind == 'zset' and 1 or 0 }
