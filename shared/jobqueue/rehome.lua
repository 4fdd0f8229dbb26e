-- rehome: puts live jobs that the index has lost back into it, and into their user's set.
-- KEYS: 1 index  2 stats  3 job prefix  4 user prefix
-- ARGV: 1 now  2.. ids
-- Returns: {rehomed, count}
local count = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local f = redis.call('HMGET', KEYS[3] .. id, 'state', 'queue_number', 'score', 'owner', 'user')
  local live = f[1] and f[1] ~= 'done' and f[2] and f[3] and f[4] and f[5]
  if live and not redis.call('ZSCORE', KEYS[1], id) then
    local queue = tonumber(f[2])
    -- A job that may be at the provider keeps its slot and is looked at first of all.
    local at_provider = f[1] == 'submitting' or f[1] == 'running'
    local score = at_provider and score_of(queue, tonumber(ARGV[1])) or score_of(READY + queue, tonumber(f[3]))
    redis.call('ZADD', KEYS[1], score, id)
    redis.call('ZADD', KEYS[4] .. f[4] .. ':' .. f[5], -1, id)
    if f[1] == 'delayed' then redis.call('HSET', KEYS[3] .. id, 'state', 'queued') end
    count = count + 1
  end
end
if count > 0 then redis.call('HINCRBY', KEYS[2], 'rehomed', count) end
return {'rehomed', text(count)}
