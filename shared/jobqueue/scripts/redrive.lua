-- redrive: notes which new job was made of a failed one, which is no dead letter any more.
-- KEYS: 1 job  2 dead
-- ARGV: 1 id  2 new_id
-- Returns: {noted} | {stale}
local f = read(KEYS[1], 'state', 'outcome')
if f.state ~= 'done' or f.outcome ~= 'failed' then return {'stale'} end
-- First what frees: then an engine that takes no growth lets the script grow what it must.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 'redriven_as', ARGV[2])
return {'noted'}
