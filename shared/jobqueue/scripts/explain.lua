-- explain: a job, and why it waits and for how long; at most four commands, however long the queue is.
-- KEYS: index, job, root
-- ARGV: id: name, slot_limit: count, user_limit: count, names: names...
-- Returns: {values, place}
--   values: of the job's fields `names`, in their order
--   place: {position, p50, p90, slots, of its queue, of its provider, admitted, cap, {gate, value, ...}} as far as known
-- position: among the ready jobs of its queue; in a backlog among its user's own, or its batch's; '' for a job that is neither.
local SEEN = 200 -- so many of the next jobs are looked at one by one; who is further behind is counted
local names = rest.names
local asked = #names
for _, name in ipairs({'state', 'lane', 'score', 'owner', 'user', 'model', 'p50', 'p90', 'batch'}) do names[#names + 1] = name end
local values = redis.call('HMGET', key.job, unpack(names))
local f = {}
for i, name in ipairs(names) do
  if values[i] then f[name] = values[i] end
end
local given = {}
for i = 1, asked do given[i] = values[i] or false end
if not f.state or f.state == 'done' then return {given, {}} end
local lane, score = tonumber(f.lane), tonumber(f.score)
local runs = runs_of(key.root, lane, f.model)
if f.state == 'backlog' then
  local user_key = key.root .. 'u:' .. f.owner .. ':' .. f.user
  local user, ahead, p50, p90 = read_user(user_key, tonumber(arg.user_limit)), 1, f.p50 or '0', f.p90 or '0'
  if f.batch or not user.complete then
    ahead = redis.call('ZCOUNT', f.batch and key.root .. 'q:' .. f.batch or user_key, 0, text(score))
  else
    for _, job in ipairs(user.waiting) do
      if job.id ~= arg.id and job.score <= score then ahead = ahead + 1 end
    end
    p50, p90 = usual_times(runs)
  end
  return {given, {text(ahead), p50, p90, '', '', '', text(#user.admitted), text(user.cap), {}}}
end
if f.state ~= 'queued' then
  local p50, p90 = usual_times(runs)
  return {given, {'', p50, p90, '', '', '', '', '', {}}}
end
local head, position, seen = read_head(key.index, tonumber(arg.slot_limit), SEEN), 0, false
for _, row in ipairs(head.rows) do
  local l = row.band - READY
  if l >= 0 and l < LANES and queue_of(l) == queue_of(lane) and (row.ms < score or (row.ms == score and row.id <= arg.id)) then
    position = position + 1
  end
  seen = seen or row.id == arg.id
end
local p50, p90
if seen or head.complete then
  p50, p90 = usual_times(runs)
else
  -- Other lanes of its queue are counted as far as they were seen.
  position, p50, p90 = redis.call('ZCOUNT', key.index, score_of(READY + lane, 0), score_of(READY + lane, score)), f.p50, f.p90
end
local gates = {}
for name, value in pairs(head.gates) do
  gates[#gates + 1] = name
  gates[#gates + 1] = text(value)
end
return {given, {text(position), p50 or '0', p90 or '0', text(head.slots), text(head.by_queue[queue_of(lane)] or 0),
  text(head.by_provider[provider_of(lane)] or 0), '', '', gates}}
