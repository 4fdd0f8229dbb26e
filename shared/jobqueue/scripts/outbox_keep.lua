-- outbox_keep: notes what became of a job's files. When nothing is left to be done for them, its owner is told.
-- With: outbox
-- KEYS: 1 outbox  2 job  3 stats  4 prefix
-- ARGV: 1 id  2 turn  3 now  4 files  5 retry_at  6 stored  7 given_up
-- Returns: {kept, follow} | {stale}
-- retry_at: when the rest is tried again; '' when there is none. follow: as post says. stale: somebody else's turn.
local f = read(KEYS[2], 'storing', 'turn', unpack(HOOK))
-- Once more: what was kept must not be taken for refused.
if f.storing == '0' and f.turn == ARGV[2] and ARGV[5] == '' then return {'kept', ''} end
if f.storing ~= '1' or f.turn ~= ARGV[2] then return {'stale'} end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[2], 'files', ARGV[4])
  redis.call('ZADD', KEYS[1], text(tonumber(ARGV[5]) - BAND), ARGV[1])
  return {'kept', ''}
end
local plan = plan_event(KEYS[4], f, ARGV[1], 'completed', tonumber(ARGV[3]), true)
redis.call('ZREM', KEYS[1], ARGV[1])
local fields = {'files', ARGV[4], 'storing', '0', 'kept_at', ARGV[3]}
note_event(fields, plan)
redis.call('HSET', KEYS[2], unpack(fields))
local follow = post(KEYS[4], plan)
for name, count in pairs({files_stored = ARGV[6], files_given_up = ARGV[7]}) do
  if count ~= '0' then redis.call('HINCRBY', KEYS[3], name, count) end
end
return {'kept', follow}
