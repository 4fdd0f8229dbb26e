-- outbox_redeliver: lets an event be delivered once more, by this caller first.
-- With: outbox
-- KEYS: 1 outbox  2 holder  3 prefix  4 undelivered
-- ARGV: 1 event  2 id  3 owner  4 now
-- Returns: {queued} | {not_found} | {no_event}
-- A URL that was gone is tried again; the ladder begins anew.
local f = read(KEYS[2], 'owner', 's:' .. ARGV[1], unpack(HOOK))
if f.owner ~= ARGV[3] then return {'not_found'} end
if not f['s:' .. ARGV[1]] then return {'no_event'} end
local row, due = ARGV[1] .. '|' .. ARGV[2], text(tonumber(ARGV[4]) + HOOK_LEASE)
redis.call('ZREM', KEYS[4], row)
redis.call('HDEL', KEYS[3] .. 'h:' .. f.hook_lane, 'gone:' .. f.hook_tag)
redis.call('HSET', KEYS[2], 's:' .. ARGV[1], 'pending', 'n:' .. ARGV[1], '0')
redis.call('ZADD', KEYS[3] .. 'x:' .. f.hook_lane, due, row)
redis.call('ZADD', KEYS[1], 'LT', due, f.hook_lane)
-- It must be there as long as it may be tried; one that lives has no end yet.
local left = redis.call('TTL', KEYS[2])
if left >= 0 and left < FOLLOW_TTL then redis.call('EXPIRE', KEYS[2], FOLLOW_TTL) end
return {'queued'}
