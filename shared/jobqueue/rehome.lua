-- rehome: sets right what a user's set and the index say of his live jobs, after either lost something. Also considers
-- jobs that the set has lost.
-- KEYS: 1 index  2 stats  3 job prefix  4 user
-- ARGV: 1 now  2.. ids
-- Returns: {checked, rehomed, missing}
local index, user_key = KEYS[1], KEYS[4]
local ids, seen, lost, homes = redis.call('ZRANGE', user_key, 0, -1), {}, {}, {}
for i = 2, #ARGV do ids[#ids + 1] = ARGV[i] end
for _, id in ipairs(ids) do
  local f = redis.call('HMGET', KEYS[3] .. id, 'state', 'queue_number', 'score', 'due_at')
  if not f[1] or f[1] == 'done' then
    lost[#lost + 1] = id
  elseif not seen[id] and not redis.call('ZSCORE', index, id) then
    local queue, now = tonumber(f[2]), tonumber(ARGV[1])
    -- A job that may be at the provider keeps its slot, and somebody looks at it first of all.
    local score = score_of(queue, now)
    if f[1] == 'queued' then score = score_of(READY + queue, tonumber(f[3])) end
    if f[1] == 'delayed' then score = score_of(DELAYED, tonumber(f[4])) end
    homes[#homes + 1] = {score, id}
  end
  seen[id] = true
end
for _, home in ipairs(homes) do
  redis.call('ZADD', index, home[1], home[2])
  redis.call('ZADD', user_key, -1, home[2])
end
if #lost > 0 then redis.call('ZREM', user_key, unpack(lost)) end
if #homes > 0 then redis.call('HINCRBY', KEYS[2], 'rehomed', #homes) end
return {'checked', text(#homes), text(#lost)}
