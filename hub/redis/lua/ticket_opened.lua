-- ticket_opened: the stream of a ticket is open.
-- KEYS: 1 the ticket (see ticket_issue), 2 tickets whose stream has ended
-- ARGV: 1 digest of the ticket, 2 digest of the URL, 3 the opening, 4 its node, 5 whose it is, 6 state of the credential, 7 ms of its issue,
-- 8 ms until which the node says again that it is open, 9 ms for which a ticket can open its stream again, 10 1: the stream was open before,
-- and another one keeps its place
-- Reply: node and opening of the stream whose place it takes, or empty; with 10: empty, and the opening that keeps its place

local ms = math.floor(now() / 1000)
local left = tonumber(ARGV[7]) + tonumber(ARGV[9]) - ms
if left <= 0 then
    return {'', ''}
end
local kept = redis.call('HMGET', KEYS[1], 's', 'x', 'n', 'o')
local open = kept[1] == 'o' and tonumber(kept[2]) > ms and kept[4] ~= ARGV[3]
if ARGV[10] == '1' and kept[1] and kept[4] ~= ARGV[3] then
    return {'', kept[4] or ''}
end
local keep = math.min(left, tonumber(ARGV[8]))
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 's', 'o', 'x', text(ms + keep), 'p', ARGV[5], 'v', ARGV[6], 'i', ARGV[7], 'u', ARGV[2], 'o', ARGV[3], 'n', ARGV[4])
redis.call('PEXPIRE', KEYS[1], text(keep))
if open then
    return {kept[3], kept[4]}
end
return {'', ''}
