-- ticket_issue: a new ticket, which waits to be used.
-- KEYS: 1 the ticket, 2 sorted set of the tenant's tickets that wait, by the time of their end
-- ARGV: 1 digest of the ticket, 2 ms for which it waits, 3 how many may wait, 4 whose it is, 5 state of the credential
-- Reply: 1, or 0 where too many wait.
-- Fields of a ticket: s state (w waits, u used and no stream yet, o open, e ended), x ms until which that holds, p whose it is,
-- v state of the credential, i ms of its issue, u digest of the URL, o the opening, n the node of the stream

local ms = math.floor(now() / 1000)
local ends = ms + tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(ms))
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) and not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
    return 0
end
redis.call('ZADD', KEYS[2], text(ends), ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[1], 's', 'w', 'x', text(ends), 'p', ARGV[4], 'v', ARGV[5], 'i', text(ms))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
