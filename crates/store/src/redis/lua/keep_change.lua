-- Keeps a change in the place of the one of its name, or where fewer than so many are kept. Says whether it has.
-- KEYS[3]: the changes. ARGV: own, now, name, change, how many, for how many milliseconds.
local name, change, most, expires_after = unpack(ARGV, 3)
if redis.call('HEXISTS', KEYS[3], name) == 0 and redis.call('HLEN', KEYS[3]) >= tonumber(most) then
    return 0
end
redis.call('HSET', KEYS[3], name, change)
redis.call('PEXPIRE', KEYS[3], expires_after)
return 1
