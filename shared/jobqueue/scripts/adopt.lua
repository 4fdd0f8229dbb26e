-- adopt: gives a submission whose answer was lost its prediction, if exactly one candidate is nobody's yet.
-- With: outbox
-- KEYS: 1 index  2 job  3 stats  4 owner prefix  5 job prefix  6 prefix
-- ARGV: 1 id  2 attempt  3 now  4 owner_ttl  5.. candidates
-- Returns: {adopted, prediction, follow} | {none} | {ambiguous} | {stale}
local id = ARGV[1]
local f = read(KEYS[2], 'attempt', 'state', 'prediction', 'lane', 'model', 'input', 's:processing', unpack(HOOK))
if f.attempt ~= ARGV[2] then return {'stale'} end
if f.state == 'running' then return {'adopted', f.prediction, ''} end
if f.state ~= 'submitting' then return {'stale'} end
-- While a twin's answer is lost too, nobody can tell whose a prediction is.
for _, other in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], 0, '(' .. score_of(READY, 0))) do
  local g = read(KEYS[5] .. other, 'state', 'model', 'input')
  if other ~= id and g.state == 'submitting' and g.model == f.model and g.input == f.input then return {'ambiguous'} end
end
-- A prediction of an earlier attempt is as little this one's as a stranger's.
local me, free = id .. ':' .. ARGV[2], {}
for i = 5, #ARGV do
  local owner = redis.call('GET', KEYS[4] .. ARGV[i])
  if not owner or owner == me then free[#free + 1] = ARGV[i] end
end
if #free == 0 then return {'none'} end
if #free > 1 then return {'ambiguous'} end
redis.call('SET', KEYS[4] .. free[1], me, 'EX', ARGV[4])
local plan = start_event(KEYS[6], f, id, ARGV[3])
redis.call('HSET', KEYS[2], 'state', 'running', 'prediction', free[1], 'started_at', ARGV[3], 'overdue_at', ARGV[3],
  unpack(plan.fields))
redis.call('ZADD', KEYS[1], score_of(tonumber(f.lane), tonumber(ARGV[3])), id)
redis.call('HINCRBY', KEYS[3], 'adopted', 1)
return {'adopted', free[1], post(KEYS[6], plan.event)}
