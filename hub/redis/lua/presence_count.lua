-- presence_count: note how many sessions of this node subscribed to some patterns, and hear how many there are on all nodes.
-- KEYS: 1 hash of this node: pattern -> sessions; then those of the other nodes that live
-- ARGV: 1 ms until the node says again that its hash holds, then per pattern: pattern, sessions of this node
-- Reply: per pattern the sessions of all nodes

local reply = {}
for index = 2, #ARGV, 2 do
    local pattern, total = ARGV[index], tonumber(ARGV[index + 1])
    if total > 0 then
        redis.call('HSET', KEYS[1], pattern, ARGV[index + 1])
    else
        redis.call('HDEL', KEYS[1], pattern)
    end
    for other = 2, #KEYS do
        total = total + (tonumber(redis.call('HGET', KEYS[other], pattern)) or 0)
    end
    reply[#reply + 1] = total
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return reply
