-- ticket_redeem: use a ticket to open a stream, or look what that would give.
-- KEYS: 1 the ticket, 2 tickets that wait, 3 sorted set of the tenant's tickets whose stream has ended
-- ARGV: 1 digest of the ticket, 2 digest of the URL, 3 the opening, a new name; empty: only look, 4 ms for which a ticket can open its
-- stream again, 5 ms for which a used ticket is kept
-- Reply: nil, or whose it is, state of the credential, ms of its issue, 1 where its stream was open before. A repeated call has the reply
-- of the first.

local ms = math.floor(now() / 1000)
local kept = redis.call('HMGET', KEYS[1], 's', 'x', 'p', 'v', 'i', 'u', 'o')
if not kept[1] or tonumber(kept[2]) <= ms then
    return nil
end
if kept[1] == 'w' then
    if ARGV[3] ~= '' then
        redis.call('ZREM', KEYS[2], ARGV[1])
        redis.call('HSET', KEYS[1], 's', 'u', 'x', text(ms + tonumber(ARGV[5])), 'u', ARGV[2], 'o', ARGV[3])
        redis.call('PEXPIRE', KEYS[1], ARGV[5])
    end
    return {kept[3], kept[4], kept[5], 0}
end
if kept[6] ~= ARGV[2] then
    return nil
end
if kept[1] == 'u' then
    return kept[7] == ARGV[3] and {kept[3], kept[4], kept[5], 0} or nil
end
if ms >= tonumber(kept[5]) + tonumber(ARGV[4]) or (kept[1] == 'e' and not redis.call('ZSCORE', KEYS[3], ARGV[1])) then
    return nil
end
return {kept[3], kept[4], kept[5], 1}
