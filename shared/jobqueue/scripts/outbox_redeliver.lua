-- outbox_redeliver: lets an event be delivered once more, by this caller first.
-- With: keys, outbox
-- KEYS: outbox, holder, root, undelivered
-- ARGV: event: name, id: name, owner: name, now: moment
-- Returns: {queued} | {not_found} | {no_event}
-- A URL that was gone, or asked to be left alone for long, is tried again, and the ladder begins anew.
local state, count = 's:' .. arg.event, 'n:' .. arg.event
local f = read(key.holder, 'owner', state, unpack(HOOK))
if f.owner ~= arg.owner then return { 'not_found' } end -- mutant: owner
if not f[state] then return { 'no_event' } end
local row, due = arg.event .. '|' .. arg.id, text(tonumber(arg.now) + HOOK_LEASE)
redis.call('HDEL', host_key(f.hook_lane), 'gone:' .. f.hook_tag, 'held:' .. f.hook_tag) -- mutant: gone
redis.call('ZADD', rows_key(f.hook_lane), due, row)
redis.call('ZADD', key.outbox, 'LT', due, f.hook_lane) -- mutant: lane listed
redis.call('HSET', key.holder, state, 'pending', count, '0') -- mutant: tries
redis.call('ZREM', key.undelivered, row)
keep_for_events(key.holder)
return { 'queued' }
