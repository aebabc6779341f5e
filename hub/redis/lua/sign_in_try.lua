-- sign_in_try: count a sign-in that failed, or that may fail.
-- KEYS: 1 the number of failures of an address and user
-- ARGV: 1 ms after which it begins anew
-- Reply: the number, ms until it begins anew

local count = redis.call('INCR', KEYS[1])
if count == 1 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return {count, redis.call('PTTL', KEYS[1])}
