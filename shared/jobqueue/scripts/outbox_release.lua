-- outbox_release: gives back rows of the outbox that are leased to this caller, so that the next claim finds them.
-- With: keys, outbox
-- KEYS: outbox, root
-- ARGV: now: moment, rows: names...
-- Returns: released: count
-- rows: `store|id|turn`, or `event|id|moment`, with the moment (ms) at which the lease ends at the latest.
-- What another caller has leased since stays leased to it.

-- Gives back a job whose files the caller does not store.
local function release_files(_, id, turn)
  local f = read(job_key(id), 'storing', 'turn')
  if f.storing ~= '1' or f.turn ~= turn then return 0 end -- mutant: release turn
  redis.call('ZADD', key.outbox, storing_score(tonumber(arg.now)), id)
  return 1
end

-- Gives back an event that the caller does not deliver.
local function release_event(event, id, leased_until)
  local holder, row = holder_key(event, id), event .. '|' .. id
  local lane = redis.call('HGET', holder, 'hook_lane')
  local due = lane and redis.call('ZSCORE', rows_key(lane), row)
  if not due or tonumber(due) > tonumber(leased_until) then return 0 end -- mutant: release lease
  -- Not behind the lease, also where the caller's clock is fast: then a repeat answers the same.
  redis.call('ZADD', rows_key(lane), text(math.min(tonumber(arg.now), tonumber(leased_until))), row)
  schedule_lane(lane)
  return 1
end

local released = 0
for _, given in ipairs(rest.rows) do
  local what, id, fence = string.match(given, '^([^|]*)|([^|]*)|([^|]*)$')
  released = released + (what == 'store' and release_files or release_event)(what, id, fence)
end
return released
