-- erase: delete some records of a tenant's log, wherever they lie in it.
-- KEYS: 1 m, 2 l (see log.lua)
-- ARGV: positions
-- Reply: how many records were deleted.
-- The floor stays. Where the newest record goes, the one before it is the last: a log that ends before its last record has lost something.

local m, l = KEYS[1], KEYS[2]
local gone, freed = 0, 0
for _, position in ipairs(ARGV) do
    local record = redis.call('XRANGE', l, position .. '-0', position .. '-0')[1]
    if record then
        local fields = record[2]
        for index = 1, #fields, 2 do
            if fields[index] == 'd' then
                freed = freed + #fields[index + 1]
            end
        end
        gone = gone + redis.call('XDEL', l, position .. '-0')
    end
end
if gone > 0 then
    redis.call('HINCRBY', m, 'bytes', -freed)
    local newest = redis.call('XREVRANGE', l, '+', '-', 'COUNT', 1)[1]
    redis.call('HSET', m, 'last', newest and string.match(newest[1], '^(%d+)') or redis.call('HGET', m, 'floor'))
end
return gone
