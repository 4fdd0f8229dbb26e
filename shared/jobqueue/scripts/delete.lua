-- delete: forgets an ended job: its hash, its dead letter, its entry in the history, what was to be told of it.
-- KEYS: index, job, dead, root, outbox
-- ARGV: id: name, owner: name, hold_until: moment?, batch_too: flag
-- Returns: {deleted} | {held, user, ended_at} | {not_found} | {not_terminal} | {belongs_to_batch}
-- hold_until: ms; a job that has files stays, and until then nobody but the caller, who removes them first, writes any.
-- '' deletes it whatever it has. batch_too: '1' forgets with it its batch, if that has ended.
local f = read(key.job, 'owner', 'user', 'state', 'batch', 'storing', 'hook_lane', 'files', 'ended_at')
if not f.state or f.owner ~= arg.owner then return {'not_found'} end
local batch, b = key.root .. 'b:' .. (f.batch or ''), {}
if f.batch then b = read(batch, 'owner', 'ended_at', 'rounds', 'hook_lane') end
-- A batch goes on telling of its jobs, and may retry them, for as long as it is known itself.
if b.owner and not (arg.batch_too == '1' and b.ended_at) then return {'belongs_to_batch'} end
if f.state ~= 'done' then return {'not_terminal'} end
if arg.hold_until ~= '' and (f.files or '') ~= '' then
  if f.storing == '1' then
    -- Whoever is at work on them has lost his turn: what he notes is refused, and he removes what he made.
    redis.call('ZADD', key.outbox, text(tonumber(arg.hold_until) - BAND), arg.id)
    redis.call('HINCRBY', key.job, 'turn', 1)
  end
  return {'held', f.user, f.ended_at}
end

local function untell(lane, rows)
  redis.call('ZREM', key.root .. 'x:' .. lane, unpack(rows))
  redis.call('ZREM', key.root .. 'y', unpack(rows))
end

redis.call('ZREM', key.index, '@' .. f.owner .. ':' .. f.user .. '|' .. arg.id)
redis.call('ZREM', key.dead, arg.id)
if f.storing == '1' then redis.call('ZREM', key.outbox, arg.id) end
if f.hook_lane then
  local rows = {}
  for n, event in ipairs({'processing', 'completed', 'failed', 'canceled'}) do rows[n] = event .. '|' .. arg.id end
  untell(f.hook_lane, rows)
end
if b.hook_lane then
  local rows = {'batch|' .. f.batch}
  for n = 1, tonumber(b.rounds or '0') do rows[n + 1] = 'batch' .. text(n) .. '|' .. f.batch end
  untell(b.hook_lane, rows)
end
if b.owner then redis.call('DEL', batch) end
redis.call('DEL', key.job)
return {'deleted'}
