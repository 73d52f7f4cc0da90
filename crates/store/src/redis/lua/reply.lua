-- Puts a reply into the queues that are bound by a routing key. They expire, whoever fetches from them or does not.
-- KEYS[3]: the bindings. ARGV: own, now, prefix, separator, exchange, routing key, reply, expiry in ms.
local prefix, sep, exchange, key, reply, expiry = unpack(ARGV, 3)
local start = key .. sep .. sep
local function put(queue)
    redis.call('LPUSH', prefix .. queue, reply)
    if redis.call('PTTL', prefix .. queue) < 0 then redis.call('PEXPIRE', prefix .. queue, expiry) end
    return 1
end
-- Celery's own name for the queue first: clients that were killed leave bindings behind, and these may be many.
local usual = key .. '.' .. exchange
if redis.call('SISMEMBER', KEYS[3], start .. usual) == 1 then return put(usual) end
local queues = 0
for _, binding in ipairs(redis.call('SMEMBERS', KEYS[3])) do
    if binding:sub(1, #start) == start and #binding > #start then queues = queues + put(binding:sub(#start + 1)) end
end
return queues
