-- outbox_keep: notes what became of a job's files. When nothing is left to be done for them, its owner is told.
-- With: outbox
-- KEYS: outbox, job, stats, root
-- ARGV: id: name, turn: count, now: moment, files: json, retry_at: moment?, stored: count, given_up: count
-- Returns: {kept, follow} | {stale}
-- retry_at: when the rest is tried again; '' when there is none. follow: as post says. stale: somebody else's turn.
local f = read(key.job, 'storing', 'turn', unpack(HOOK))
-- Once more: what was kept must not be taken for refused.
if f.storing == '0' and f.turn == arg.turn and arg.retry_at == '' then return {'kept', ''} end
if f.storing ~= '1' or f.turn ~= arg.turn then return {'stale'} end
if arg.retry_at ~= '' then
  redis.call('HSET', key.job, 'files', arg.files)
  redis.call('ZADD', key.outbox, text(tonumber(arg.retry_at) - BAND), arg.id)
  return {'kept', ''}
end
local plan = plan_event(key.root, f, arg.id, 'completed', tonumber(arg.now), true)
redis.call('ZREM', key.outbox, arg.id)
local fields = {'files', arg.files, 'storing', '0', 'kept_at', arg.now}
note_event(fields, plan)
redis.call('HSET', key.job, unpack(fields))
local follow = post(key.root, plan)
for name, count in pairs({files_stored = arg.stored, files_given_up = arg.given_up}) do
  if count ~= '0' then redis.call('HINCRBY', key.stats, name, count) end
end
return {'kept', follow}
