-- outbox_restore: puts back what the outbox has lost: a delivery lane with rows, or a job whose files are not stored.
-- With: keys, outbox
-- KEYS: outbox, job, stats, root
-- ARGV: lane: text, id: text, now: moment
-- Returns: {restored} | {in_place}
-- One of lane and id is ''.

-- The answer, by whether this call put anything back.
local function answer(has_restored) return { has_restored and 'restored' or 'in_place' } end

if arg.lane ~= '' then
  if redis.call('ZSCORE', key.outbox, arg.lane) then return answer(false) end
  schedule_lane(arg.lane)
  local has_rows = redis.call('EXISTS', rows_key(arg.lane)) == 1
  if has_rows then redis.call('HINCRBY', key.stats, 'lanes_restored', 1) end
  return answer(has_rows)
end
if read(key.job, 'storing').storing ~= '1' then return answer(false) end
return answer(redis.call('ZADD', key.outbox, 'NX', storing_score(tonumber(arg.now)), arg.id) == 1)
