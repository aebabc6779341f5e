-- open: how far a tenant's log reaches; makes it where there is none.
-- KEYS: 1 m, 2 l, 3 p, 4 o (see log.lua)
-- ARGV: 1 run, 2 durable '0' or '1', 3 guard in microseconds, 4 known
-- Reply: top, floor, seam

local top, floor, seam = open_log(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4])
return {text(top), text(floor), text(seam)}
