-- ticket_closed: the stream of a ticket has ended; for a while the ticket may open it again.
-- KEYS: 1 the ticket (see ticket_issue), 2 tickets whose stream has ended
-- ARGV: 1 digest of the ticket, 2 the opening, 3 ms for which it may be opened again, 4 how many ended streams of the tenant may be
-- Reply: how many others may be opened no more, because too many have ended

local ms = math.floor(now() / 1000)
local kept = redis.call('HMGET', KEYS[1], 's', 'o')
if kept[1] ~= 'o' or kept[2] ~= ARGV[2] then
    return 0
end
local resume = tonumber(ARGV[3])
if resume <= 0 then
    redis.call('DEL', KEYS[1])
    return 0
end
redis.call('HSET', KEYS[1], 's', 'e', 'x', text(ms + resume))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(ms))
redis.call('ZADD', KEYS[2], text(ms + resume), ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local excess = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[4])
if excess <= 0 then
    return 0
end
redis.call('ZPOPMIN', KEYS[2], excess)
return excess
