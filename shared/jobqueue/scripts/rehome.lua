-- rehome: sets right what a user's set and the index say of his live jobs, after either lost something, and makes ready
-- whoever has a right to be.
-- With: outbox, ending
-- KEYS: index, stats, root, user
-- ARGV: now: moment, user_limit: count, ttl: seconds, whole: flag, ids: names...
-- Returns: {checked, rehomed, missing}
-- whole: 1 to look at all in his set, the first 1,000 of a backlog that is longer; else only at `ids`, which the set may
-- have lost as well.
local MAX_ITEMS = 1000
local index, user = key.index, key.user
local ending = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit)
local members = arg.whole == '1' and redis.call('ZRANGE', user, 0, MAX_ITEMS - 1) or {}
local ids, seen, lost, homes, gone = {}, {}, {}, {}, {}
for _, member in ipairs(members) do
  local kind = string.sub(member, 1, 1)
  if kind == '#' then
    local live_jobs = redis.call('ZRANGE', key.root .. 'q:' .. string.sub(member, 2), 0, -1)
    for _, id in ipairs(live_jobs) do ids[#ids + 1] = id end
    if #live_jobs == 0 then lost[#lost + 1] = member end
  elseif kind == '~' then
    -- The fair policy's tag says nothing any more once all others have come as far.
    local now_at = redis.call('ZSCORE', index, '~v')
    local tag = tonumber(redis.call('ZSCORE', user, '~')) - SPECIAL
    if not now_at or tonumber(now_at) + BAND >= tag then redis.call('ZREM', user, '~') end
  elseif kind ~= '=' then
    ids[#ids + 1] = member
  end
end
local asked_for = {}
for _, id in ipairs(rest.ids) do
  ids[#ids + 1] = id
  asked_for[id] = true
end
for _, id in ipairs(ids) do
  local f = read(key.root .. 'j:' .. id, 'state', 'lane', 'score', 'due_at', 'expire_at', 'batch')
  if not f.state or f.state == 'done' then
    if not seen[id] then lost[#lost + 1] = id end
    local batch, number = string.match(id, '^(bat_[^_]+)_(%d+)')
    if batch and not f.state and not seen[id] then gone[#gone + 1] = {id, batch, number} end
  elseif not seen[id] then
    local is_indexed, lacks_seat = redis.call('ZSCORE', index, id), false
    if asked_for[id] and not (f.batch and f.state == 'backlog') then lacks_seat = not redis.call('ZSCORE', user, id) end
    local lane, score = tonumber(f.lane), tonumber(f.score)
    -- A job that may be at the provider keeps its slot, and somebody looks at it first of all.
    local home, seat = score_of(lane, tonumber(arg.now)), ADMITTED + score
    if f.state == 'queued' then home = score_of(READY + lane, score) end
    if f.state == 'delayed' then home = score_of(DELAYED, tonumber(f.due_at)) end
    if f.state == 'backlog' then home, seat = score_of(BACKLOG, score), score end
    if not is_indexed or lacks_seat then
      homes[#homes + 1] = {id, not is_indexed and home, text(seat), f.expire_at, f.batch, f.state}
    end
  end
  seen[id] = true
end
for _, home in ipairs(homes) do
  if home[2] then redis.call('ZADD', index, home[2], home[1], score_of(ALARMS, tonumber(home[4])), '!' .. home[1]) end
  if home[5] then redis.call('ZADD', key.root .. 'q:' .. home[5], home[6] == 'backlog' and home[3] or -1, home[1]) end
  if home[5] and home[6] == 'backlog' then
    redis.call('ZADD', user, home[3], '#' .. home[5])
  else
    redis.call('ZADD', user, home[3], home[1])
  end
end
if #lost > 0 then
  redis.call('ZREM', user, unpack(lost))
  for _, id in ipairs(lost) do redis.call('ZREM', index, id, '!' .. id) end
end
-- A batch must not wait for a job that was lost with its hash.
local owner, name = string.match(string.sub(user, #key.root + 3), '^([^:]*):(.*)$')
for _, job in ipairs(gone) do
  settle(ending, job[1], {batch = job[2], number = job[3], owner = owner, user = name}, 'failed')
end
if #homes > 0 then redis.call('HINCRBY', key.stats, 'rehomed', #homes) end
promote(ending, user)
return {'checked', text(#homes), text(#lost)}
