-- batch_cancel: ends the waiting jobs of a batch and asks for the end of those at a provider.
-- With: outbox, ending
-- KEYS: 1 index  2 batch  3 stats  4 prefix
-- ARGV: 1 batch_id  2 owner  3 token  4 now  5 ttl  6 user_limit
-- Returns: {not_found} | {already_terminal} | {canceled, ended, requested, follow}
local b = read(KEYS[2], 'owner', 'ended_at', 'cancel_token')
if b.owner ~= ARGV[2] then return {'not_found'} end
if b.ended_at and b.cancel_token ~= ARGV[3] then return {'already_terminal'} end
-- First a write that frees: then an engine that takes no growth lets the script grow what it must.
redis.call('HDEL', KEYS[2], 'cancel_token')
local ending = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[4], ARGV[5], ARGV[6])
local ended, requested = cancel_batch(ending, ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], 'cancel_token', ARGV[3])
return {'canceled', text(ended), text(requested), follow_of(ending)}
