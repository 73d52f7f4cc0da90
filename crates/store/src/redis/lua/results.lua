-- Storing a result.

local READY = { SUCCESS = true, FAILURE = true, REVOKED = true }

-- A success stays for ever, and nothing that is final is replaced by what is not.
local store_result = among_results(function(key, state, value, ttl)
  local stored
  if ttl == '' then stored = redis.call('SET', key, value, 'NX')
  else stored = redis.call('SET', key, value, 'NX', 'PX', ttl) end
  if stored then
    tell(key, value)
    return
  end
  -- What is no text is no result, and gives way.
  local ok, old = pcall(cjson.decode, redis.pcall('GET', key))
  local before = ok and type(old) == 'table' and old.status
  if before == 'SUCCESS' or (READY[before] and not READY[state]) then return end
  if ttl == '' then redis.call('SET', key, value)
  else redis.call('SET', key, value, 'PX', ttl) end
  tell(key, value)
end)
