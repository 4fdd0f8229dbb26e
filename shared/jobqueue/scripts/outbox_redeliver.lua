-- outbox_redeliver: lets an event be delivered once more, by this caller first.
-- With: outbox
-- KEYS: outbox, holder, root, undelivered
-- ARGV: event: name, id: name, owner: name, now: moment
-- Returns: {queued} | {not_found} | {no_event}
-- A URL that was gone is tried again; the ladder begins anew.
local f = read(key.holder, 'owner', 's:' .. arg.event, unpack(HOOK))
if f.owner ~= arg.owner then return {'not_found'} end
if not f['s:' .. arg.event] then return {'no_event'} end
local row, due = arg.event .. '|' .. arg.id, text(tonumber(arg.now) + HOOK_LEASE)
redis.call('ZREM', key.undelivered, row)
redis.call('HDEL', key.root .. 'h:' .. f.hook_lane, 'gone:' .. f.hook_tag)
redis.call('HSET', key.holder, 's:' .. arg.event, 'pending', 'n:' .. arg.event, '0')
redis.call('ZADD', key.root .. 'x:' .. f.hook_lane, due, row)
redis.call('ZADD', key.outbox, 'LT', due, f.hook_lane)
-- It must be there as long as it may be tried; one that lives has no end yet.
local left = redis.call('TTL', key.holder)
if left >= 0 and left < FOLLOW_TTL then redis.call('EXPIRE', key.holder, FOLLOW_TTL) end
return {'queued'}
