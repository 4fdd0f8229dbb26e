-- batch_cancel: ends the waiting jobs of a batch and asks for the end of those at a provider.
-- With: keys, spending, lost, room, pauses, users, tags, shares, runs, seats, yielding, outbox, entries, ending
-- KEYS: index, batch, stats, root
-- ARGV: batch_id: name, owner: name, token: name, now: moment, ttl: seconds, user_limit: count, statistics: flag
-- Returns: {not_found} | {already_terminal} | {canceled, ended: count, requested: count, follow: text}
local b = read(key.batch, 'owner', 'ended_at', 'cancel_token')
if b.owner ~= arg.owner then return { 'not_found' } end
if b.ended_at and b.cancel_token ~= arg.token then return { 'already_terminal' } end
-- First a write that frees: then an engine that takes no growth lets the script grow what it must.
redis.call('HDEL', key.batch, 'cancel_token')
local ended, requested = cancel_batch(arg.batch_id, arg.token)
redis.call('HSET', key.batch, 'cancel_token', arg.token)
return { 'canceled', text(ended), text(requested), follow() }
