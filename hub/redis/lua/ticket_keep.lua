-- ticket_keep: streams of some tickets of a tenant are still open.
-- KEYS: the tickets (see ticket_issue)
-- ARGV: 1 ms until which the node says so again, 2 ms for which a ticket can open its stream again, then the opening of each ticket
-- Reply: of each 1; 0 where another stream has its place; -1 where the ticket is not kept

local ms = math.floor(now() / 1000)
local reply = {}
for index, key in ipairs(KEYS) do
    local kept = redis.call('HMGET', key, 's', 'i', 'o')
    if not kept[1] then
        reply[index] = -1
    elseif kept[3] ~= ARGV[index + 2] or kept[1] ~= 'o' then
        reply[index] = 0
    else
        local keep = math.min(tonumber(kept[2]) + tonumber(ARGV[2]) - ms, tonumber(ARGV[1]))
        if keep > 0 then
            redis.call('HSET', key, 'x', text(ms + keep))
            redis.call('PEXPIRE', key, text(keep))
        end
        reply[index] = 1
    end
end
return reply
