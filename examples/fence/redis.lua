-- redis.lua: write to Redis unless a writer of a newer term was there. A script runs by itself, so the look and the
-- write are one step.
--
--     redis-cli --eval redis.lua {db-writer}:state {db-writer}:term , $BATON_TERM "the new state"
--
-- KEYS: what is written, and where the newest term is kept; in a cluster both must be in one slot, hence the braces.
-- Each key that one leader writes may share one term's key. The term's key must not expire, nor be evicted
-- (maxmemory-policy noeviction, or volatile-*), and Redis must keep what it has acknowledged (appendonly yes with
-- appendfsync always; no failover to a replica that lags): what is forgotten cannot refuse anybody.

local term = tonumber(ARGV[1])
if term == nil or term < 1 or term > 9007199254740991 or term % 1 ~= 0 then
    return redis.error_reply("NOTERM '" .. tostring(ARGV[1]) .. "' is no term")
end
local newest = tonumber(redis.call("GET", KEYS[2]) or "0")
if term < newest then
    return redis.error_reply(string.format("FENCED term %.0f is over: a writer of term %.0f was here", term, newest))
end
if term > newest then
    redis.call("SET", KEYS[2], string.format("%.0f", term))
end
redis.call("SET", KEYS[1], ARGV[2])
return redis.status_reply("OK")
