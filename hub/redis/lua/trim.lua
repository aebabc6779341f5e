-- trim: forget the oldest records of a tenant's log, a piece of them.
-- KEYS: 1 m, 2 l, 3 p, 4 o (see log.lua)
-- ARGV: 1 microseconds after which a record is too old, 2 most records, 3 most bytes, 4 most records of one piece
-- Reply: how many records were forgotten, '1' where there are more.
-- The floor is set with the records' end, so the stream is never trimmed elsewhere: nobody would know how far it reaches.

local m, l, p, o = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local cut, most, most_bytes, piece = now() - tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local length = redis.call('XLEN', l)
if length == 0 then
    return {0, '0'}
end
local bytes = tonumber(redis.call('HGET', m, 'bytes')) or 0
local oldest = redis.call('XRANGE', l, '-', '+', 'COUNT', 1)[1]
if tonumber(string.match(oldest[1], '^(%d+)')) > cut and length <= most and bytes <= most_bytes then
    return {0, '0'}
end
-- what is read lies in memory twice: a piece of large records is a small one
piece = math.max(1, math.min(piece, math.floor(1048576 * length / math.max(bytes, 1))))
local records = redis.call('XRANGE', l, '-', '+', 'COUNT', piece)
local floor = nil
local gone, freed = 0, 0
for _, record in ipairs(records) do
    local position = tonumber(string.match(record[1], '^(%d+)'))
    if position > cut and length - gone <= most and bytes - freed <= most_bytes then
        break
    end
    local fields = record[2]
    for index = 1, #fields, 2 do
        if fields[index] == 'd' then
            freed = freed + #fields[index + 1]
        end
    end
    gone = gone + 1
    floor = position
end
if not floor then
    return {0, '0'}
end
redis.call('XTRIM', l, 'MINID', text(floor + 1))
redis.call('HSET', m, 'floor', text(floor))
redis.call('HINCRBY', m, 'bytes', -freed)
redis.call('ZREMRANGEBYSCORE', p, '-inf', text(floor))
redis.call('ZREMRANGEBYSCORE', o, '-inf', text(floor))
return {gone, gone == #records and length > gone and '1' or '0'}
