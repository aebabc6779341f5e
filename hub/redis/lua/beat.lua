-- beat: a node says that it lives, and hears who else does.
-- KEYS: 1 hash of records, 2 sorted set of expiries; both by incarnation
-- ARGV: 1 incarnation, 2 record, 3 milliseconds until it is forgotten; 0: it leaves
-- Reply: incarnation, record, incarnation, record ... of all that live

local r, t = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ttl = tonumber(ARGV[3])
if ttl > 0 then
    redis.call('HSET', r, ARGV[1], ARGV[2])
    redis.call('ZADD', t, text(now + ttl), ARGV[1])
else
    redis.call('HDEL', r, ARGV[1])
    redis.call('ZREM', t, ARGV[1])
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', t, '-inf', text(now))) do
    redis.call('HDEL', r, gone)
    redis.call('ZREM', t, gone)
end
return redis.call('HGETALL', r)
