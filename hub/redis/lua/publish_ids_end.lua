-- publish_ids_end: messages were published, or were not.
-- KEYS: see publish_ids_begin
-- ARGV: 1 name of the call that began, then per message: id; its position, empty where it has none, or - where it was not published
-- Reply: none

for index = 2, #ARGV, 2 do
    local id, position = ARGV[index], ARGV[index + 1]
    local kept = redis.call('HGET', KEYS[2], id)
    local known, publisher, since = string.match(kept or '', '^(%x+) (%x+) (%d+) ')
    if publisher == ARGV[1] then
        -- a message that was not published is remembered as well: it may be in the log although nobody heard so
        local ended = position == '-' and ' 1 ' or ' 0 ' .. position
        redis.call('HSET', KEYS[2], id, known .. ' ' .. publisher .. ' ' .. since .. ended)
    end
end
return nil
