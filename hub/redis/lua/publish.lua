-- publish: all messages of a tenant that a node has at one moment. Log messages get their positions and are appended.
-- KEYS: 1 m, 2 l, 3 p, 4 o (see log.lua), 5 the string of the newest batch of this node
-- ARGV: 1 run, 2 durable, 3 guard, 4 known (see log.lua), 5 epoch or '', 6 PUBLISH or SPUBLISH, 7 NUMSUB or SHARDNUMSUB,
--       8 number of the batch, 9 '1' when the batch was sent before, 10 version of the envelopes, 11 c, then c channels, then for each
--       message:
--       'e', k, k indexes of channels, header, body                         an event or state
--       'n', k, k indexes of channels, header, body                         a notice
--       'l', topic, idempotency key or '', k, k indexes, header, body       a log message
-- Reply: for each log message its position, or that of the earlier one where the log has its key already. A batch that was executed
--        before is answered as then, and not executed again. Error FENCED: a later epoch was claimed, nothing was done.

local m, l, p, o = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

if ARGV[5] ~= '' then
    local claimed = tonumber(redis.call('HGET', m, 'epoch')) or 0
    if claimed > tonumber(ARGV[5]) then
        return redis.error_reply('FENCED ' .. text(claimed))
    end
    if claimed < tonumber(ARGV[5]) then -- this Redis has lost it, or was away when it was claimed
        redis.call('HSET', m, 'epoch', text(tonumber(ARGV[5])))
    end
end

-- the positions of a batch that was executed lie side by side, from the first one on
local executed = nil
if ARGV[9] == '1' then
    local batch = redis.call('GET', KEYS[5])
    if batch then
        local number, first = string.match(batch, '^(%d+) (%d+)$')
        if number == ARGV[8] then
            executed = tonumber(first)
        end
    end
end

local version = ARGV[10]
local count = tonumber(ARGV[11])
local listened = {}
if count > 0 and not executed then
    local answer = redis.call('PUBSUB', ARGV[7], unpack(ARGV, 12, 11 + count))
    for index = 1, count do
        listened[index] = tonumber(answer[2 * index]) > 0
    end
end

-- the log is looked at with the first log message
local top, floor, last, moment, first
local added = 0
local positions = {}
local at = 12 + count
local total = #ARGV
while at <= total do
    local kind = ARGV[at]
    local is_log = kind == 'l'
    local topic, once
    if is_log then
        topic, once = ARGV[at + 1], ARGV[at + 2]
        at = at + 2
        if not first then
            if executed then
                first = executed
            else
                local _
                top, floor, _, last = open_log(m, l, p, o, ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4])
                moment = now()
                first = math.max(top + 1, moment)
            end
            top = first - 1
        end
    end
    local k = tonumber(ARGV[at + 1])
    local indexes = at + 2
    local header, body = ARGV[indexes + k], ARGV[indexes + k + 1]
    at = indexes + k + 2

    local prelude = version .. kind
    if is_log then
        local member = topic .. '\0' .. once
        local had = once ~= '' and redis.call('ZSCORE', o, member)
        if executed then
            prelude = nil
            if had and tonumber(had) ~= top + 1 then
                positions[#positions + 1] = text(tonumber(had))
            else
                top = top + 1
                positions[#positions + 1] = text(top)
            end
        elseif had then
            prelude = nil
            positions[#positions + 1] = text(tonumber(had))
        else
            top = top + 1
            local position = text(top)
            local previous = text(tonumber(redis.call('ZSCORE', p, topic)) or floor)
            redis.call('XADD', l, position .. '-0', 'q', previous, 'h', header, 'd', body)
            redis.call('ZADD', p, position, topic)
            if once ~= '' then
                redis.call('ZADD', o, position, member)
            end
            added = added + #body
            last = top
            positions[#positions + 1] = position
            prelude = version .. 'l' .. position .. ' ' .. previous .. ' '
        end
    elseif executed then
        prelude = nil
    end
    if prelude then
        local payload = nil
        for index = indexes, indexes + k - 1 do
            local channel = tonumber(ARGV[index])
            if listened[channel] then
                payload = payload or (prelude .. header .. '\n' .. body)
                redis.call(ARGV[6], ARGV[11 + channel], payload)
            end
        end
    end
end

if not executed then
    if first and top >= first then
        redis.call('HSET', m, 'top', text(top), 'last', text(last))
        redis.call('HINCRBY', m, 'bytes', added)
    end
    redis.call('SET', KEYS[5], ARGV[8] .. ' ' .. text(first or 0), 'PX', 60000)
end
return positions
