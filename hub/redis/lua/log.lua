-- Begins every script that looks at a tenant's log.
-- m: the hash of the log; l: its stream; p: last position of each topic; o: positions of idempotency keys.
-- Fields of m: top, the newest position given; floor, up to which records are gone; last, the position of the newest record;
-- bytes, of all records; run, the server that wrote last; seam, the position before which the log may have lost something;
-- epoch, the fence of the tenant's stat server; left, 1 when the tenant was found to have another server (leave.lua).

-- tostring would give 1.7644212341235e+15
local function text(number)
    return string.format('%.0f', number)
end

local function now()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Makes the log where there is none, and finds out whether it has come back with less than it had: when another server wrote it last and
-- did not prove that it is durable, when a node knows a position that it does not have, or when its stream is gone.
-- run: of this server; durable: 1 when what it acknowledged survives it; guard: microseconds by which positions lead this server's clock
-- where something may be lost, for the clock of another host may be behind; known: the highest position that the caller has seen, and
-- behind a space the run of the server that it saw it on.
-- Returns top, floor, seam, last.
--
-- A position that was lost is never given again. Each position is at most guard ahead of the clock of the server that gave it, for one
-- that is given ahead of it is one more than the one before, and more than a microsecond lies between two. A log that comes back begins
-- guard ahead of the clock of now: above all that the same clock let anybody give before, also if the log was lost twice within guard.
-- The clock of another host may be behind by as much as guard; if positions led the clock when the log was lost, as much time must have
-- passed since the loss before (docs/scaling.md#what-is-promised).
local function open_log(m, l, p, o, run, durable, guard, seen)
    local known, known_run = string.match(seen, '^(%d+) ?(.*)$')
    known = tonumber(known)
    local function after(position)
        local led = now() + guard
        if position < led then
            return led
        end
        -- within guard the clock is only behind that of another host, and nothing above was given; else it was set back
        return position <= led + guard and position + 1 or position + guard
    end
    local kept = redis.call('HMGET', m, 'top', 'floor', 'run', 'seam', 'last', 'left')
    local top, floor, seam, last = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[4]) or 0, tonumber(kept[5]) or 0
    if not top or not floor then
        redis.call('DEL', l, p, o)
        top = known < now() - 1 + guard and now() - 1 + guard or after(known)
        redis.call('HSET', m, 'top', text(top), 'floor', text(top), 'last', text(top), 'run', run, 'seam', '0', 'bytes', '0')
        return top, top, 0, top
    end
    -- what the caller saw on another server is of this log up to where this server took it over; what is above came from a server that
    -- went on after it was replaced
    local branch = durable ~= '1' and known_run ~= '' and known_run ~= kept[3] and known >= seam
    -- it went on at another server meanwhile
    local left = kept[6] == '1'
    if kept[3] ~= run or known > top or branch or left then
        redis.call('HSET', m, 'run', run, 'left', '0')
        if known > top or durable ~= '1' or left then
            top = after(math.max(top, known))
            seam = top
            redis.call('HSET', m, 'top', text(top), 'seam', text(seam))
        end
    end
    if last > floor and redis.call('XLEN', l) == 0 then
        redis.call('DEL', p, o)
        floor = top
        last = top
        redis.call('HSET', m, 'floor', text(floor), 'last', text(last), 'bytes', '0')
    end
    return top, floor, seam, last
end
