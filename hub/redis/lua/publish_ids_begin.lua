-- publish_ids_begin: look up ids of messages that are about to be published, and note those that are new.
-- KEYS: 1 sorted set of the tenant's ids, by the time of their end; 2 hash of what is known of each
-- ARGV: 1 ms for which an id is remembered, 2 most ids, 3 ms that publishing may take, 4 name of this call, then per message: id, digest
-- of the message
-- Reply: ids that were forgotten early, then per message: n and the ms at which it was first new: publish it; d and its position, or d
-- alone: it was published; b: somebody publishes it now; o: the id is another message's. A repeated call has the reply of the first.
-- Known of an id: digest of the message, call that publishes it, ms of the first, ms until which it is being published (0: it was
-- published; 1: it was not), position.

local ms = math.floor(now() / 1000)
local window, most, busy, call = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local reply = {0}

local function forget(ids)
    for _, id in ipairs(ids) do
        redis.call('HDEL', KEYS[2], id)
        redis.call('ZREM', KEYS[1], id)
    end
end

forget(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(ms), 'LIMIT', 0, 1000))
for index = 5, #ARGV, 2 do
    local id, message = ARGV[index], ARGV[index + 1]
    local kept = redis.call('HGET', KEYS[2], id)
    local answer = nil
    local first = ms
    if kept then
        local known, publisher, since, until_ms, position = string.match(kept, '^(%x+) (%x+) (%d+) (%d+) (%d*)$')
        if known == message then
            first = tonumber(since)
        end
        if known ~= message and until_ms ~= '1' then
            answer = 'o'
        elseif until_ms == '0' then
            answer = 'd' .. position
        elseif publisher ~= call and ms < tonumber(until_ms) then
            answer = 'b'
        end
    else
        local excess = redis.call('ZCARD', KEYS[1]) + 1 - most
        if excess > 0 then
            local oldest = redis.call('ZRANGE', KEYS[1], 0, excess - 1)
            reply[1] = reply[1] + #oldest
            forget(oldest)
        end
        redis.call('ZADD', KEYS[1], text(ms + window), id)
    end
    if not answer then
        redis.call('HSET', KEYS[2], id, message .. ' ' .. call .. ' ' .. text(first) .. ' ' .. text(ms + busy) .. ' ')
        answer = 'n' .. text(first)
    end
    reply[#reply + 1] = answer
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return reply
