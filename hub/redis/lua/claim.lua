-- claim: note the fence of the stat server that owns a tenant, so that what an earlier one publishes is refused.
-- KEYS: 1 m (see log.lua)
-- ARGV: 1 epoch
-- Reply: the highest epoch that was claimed

local claimed = tonumber(redis.call('HGET', KEYS[1], 'epoch')) or 0
local epoch = tonumber(ARGV[1])
if epoch > claimed then
    redis.call('HSET', KEYS[1], 'epoch', text(epoch))
    claimed = epoch
end
return text(claimed)
