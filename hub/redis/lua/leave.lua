-- leave: a tenant's log lies on a server that is not the tenant's any more. Whoever comes back here one day begins after a seam, for the
-- log goes on elsewhere meanwhile.
-- KEYS: 1 m (see log.lua)
-- Reply: top, run, epoch; '0', '', '0' where there is no log

local kept = redis.call('HMGET', KEYS[1], 'top', 'run', 'epoch')
if not kept[1] then
    return {'0', '', '0'}
end
redis.call('HSET', KEYS[1], 'left', '1')
return {kept[1], kept[2] or '', kept[3] or '0'}
