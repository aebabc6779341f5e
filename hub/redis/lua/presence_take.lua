-- presence_take: take away what a node that has ended had noted, a piece of it. Of several nodes that ask one gets each pattern.
-- KEYS: 1 hash of the node that has ended (see presence_count)
-- ARGV: 1 about how many patterns
-- Reply: pattern, sessions, pattern, sessions ...; empty where nothing is left

local taken = redis.call('HSCAN', KEYS[1], '0', 'COUNT', ARGV[1])[2]
for index = 1, #taken, 2 do
    redis.call('HDEL', KEYS[1], taken[index])
end
return taken
