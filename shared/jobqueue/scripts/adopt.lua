-- adopt: gives a submission whose answer was lost its prediction, if exactly one candidate is nobody's yet.
-- With: outbox
-- KEYS: index, job, stats, owners, jobs, root
-- ARGV: id: name, attempt: count, now: moment, owner_ttl: seconds, candidates: names...
-- Returns: {adopted, prediction, follow} | {none} | {ambiguous} | {stale}
local id = arg.id
local f = read(key.job, 'attempt', 'state', 'prediction', 'lane', 'model', 'input', 's:processing', unpack(HOOK))
if f.attempt ~= arg.attempt then return {'stale'} end
if f.state == 'running' then return {'adopted', f.prediction, ''} end
if f.state ~= 'submitting' then return {'stale'} end
-- While a twin's answer is lost too, nobody can tell whose a prediction is.
for _, other in ipairs(redis.call('ZRANGEBYSCORE', key.index, 0, '(' .. score_of(READY, 0))) do
  local g = read(key.jobs .. other, 'state', 'model', 'input')
  if other ~= id and g.state == 'submitting' and g.model == f.model and g.input == f.input then return {'ambiguous'} end
end
-- A prediction of an earlier attempt is as little this one's as a stranger's.
local me, free = id .. ':' .. arg.attempt, {}
for _, candidate in ipairs(rest.candidates) do
  local owner = redis.call('GET', key.owners .. candidate)
  if not owner or owner == me then free[#free + 1] = candidate end
end
if #free == 0 then return {'none'} end
if #free > 1 then return {'ambiguous'} end
redis.call('SET', key.owners .. free[1], me, 'EX', arg.owner_ttl)
local plan = start_event(key.root, f, id, arg.now)
redis.call('HSET', key.job, 'state', 'running', 'prediction', free[1], 'started_at', arg.now, 'overdue_at', arg.now,
  unpack(plan.fields))
redis.call('ZADD', key.index, score_of(tonumber(f.lane), tonumber(arg.now)), id)
redis.call('HINCRBY', key.stats, 'adopted', 1)
return {'adopted', free[1], post(key.root, plan.event)}
