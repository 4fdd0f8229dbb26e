-- redrive: notes which new job was made of a failed one, which is no longer a dead letter.
-- KEYS: job, dead
-- ARGV: id: name, new_id: name
-- Returns: {noted} | {stale}
local f = read(key.job, 'state', 'outcome')
if f.state ~= 'done' or f.outcome ~= 'failed' then return { 'stale' } end
-- First what frees: then an engine that takes no growth lets the script grow what it must.
redis.call('ZREM', key.dead, arg.id) -- mutant: dead letter
redis.call('HSET', key.job, 'redriven_as', arg.new_id)
return { 'noted' }
