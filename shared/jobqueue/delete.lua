-- delete: forgets an ended job: its hash, its dead letter, its entry in the history.
-- KEYS: 1 index  2 job  3 dead  4 prefix  5 outbox
-- ARGV: 1 id  2 owner
-- Returns: {deleted} | {not_found} | {not_terminal} | {belongs_to_batch}
local f = read(KEYS[2], 'owner', 'user', 'state', 'batch', 'storing', 'hook_lane')
if not f.state or f.owner ~= ARGV[2] then return {'not_found'} end
-- A batch goes on telling of its jobs, and may retry them, for as long as it is known itself.
if f.batch and redis.call('EXISTS', KEYS[4] .. 'b:' .. f.batch) == 1 then return {'belongs_to_batch'} end
if f.state ~= 'done' then return {'not_terminal'} end
redis.call('ZREM', KEYS[1], '@' .. f.owner .. ':' .. f.user .. '|' .. ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if f.storing == '1' then redis.call('ZREM', KEYS[5], ARGV[1]) end
if f.hook_lane then
  local rows = {}
  for n, event in ipairs({'processing', 'completed', 'failed', 'canceled'}) do rows[n] = event .. '|' .. ARGV[1] end
  redis.call('ZREM', KEYS[4] .. 'x:' .. f.hook_lane, unpack(rows))
  redis.call('ZREM', KEYS[4] .. 'y', unpack(rows))
end
redis.call('DEL', KEYS[2])
return {'deleted'}
