-- Binds the queue of a new mailbox for replies, as kombu binds one, and removes those whose time is over: their owners were killed.
-- KEYS[3]: the bindings. ARGV: own, now, prefix, separator, exchange, the name of the mailbox, for how many microseconds it is open.
local prefix, sep, exchange, name, open_for = unpack(ARGV, 3)
-- The time is a part of the routing key, so nothing but the binding must be kept of a mailbox. Those of other programs are
-- left alone: nobody knows how long they are wanted.
for _, binding in ipairs(redis.call('SMEMBERS', KEYS[3])) do
    local key, ends = string.match(binding, '^(celeriac%.(%d+)%.%w+)')
    if key and tonumber(ends) * 1000000 < now and string.sub(binding, #key + 1, #key + 2 * #sep) == sep .. sep then
        redis.call('SREM', KEYS[3], binding)
        redis.call('DEL', prefix .. string.sub(binding, #key + 2 * #sep + 1))
    end
end
local ends = math.ceil(math.min(now + tonumber(open_for), 9e15) / 1000000)
local key = 'celeriac.' .. string.format('%d', ends) .. '.' .. name
redis.call('SADD', KEYS[3], key .. sep .. sep .. key .. '.' .. exchange)
return key
