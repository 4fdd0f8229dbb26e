-- reprioritize: gives a waiting job another priority; it gets the score that it would have had from the start.
-- With: keys, lost, room, pauses, users, tags, shares, runs, seats, yielding, outbox, ending
-- KEYS: index, job, stats, root
-- ARGV: id: name, owner: name, priority: count, priority_unit: count?, user_limit: count
-- Returns: {not_found} | {moved} | {not_waiting}
-- priority_unit: how much lower the score is for one step of priority; '' where a score is the time of submission * (6
-- - priority).

-- The score that the job would have had with the new priority from the start.
local function new_score(f)
  local priority = tonumber(arg.priority)
  if arg.priority_unit == '' then return tonumber(f.created_at) * (6 - priority) end
  return math.max(0, tonumber(f.score) - (priority - tonumber(f.priority)) * tonumber(arg.priority_unit))
end

local f = read(key.job, 'score', 'priority', 'created_at', unpack(ENDING))
if not f.state or f.owner ~= arg.owner then return { 'not_found' } end
if not is_waiting(f.state) then return { 'not_waiting' } end
local score, set = new_score(f), user_key(f.owner, f.user)
redis.call('HSET', key.job, 'score', text(score), 'priority', arg.priority)
if f.state == 'backlog' and f.batch then
  redis.call('ZADD', batch_queue_key(f.batch), text(score), arg.id)
  rank_batch(set, f.batch)
else
  redis.call('ZADD', set, f.state == 'backlog' and text(score) or seat_score(score), arg.id)
end
if f.state == 'queued' then
  redis.call('ZADD', key.index, score_of(READY + tonumber(f.lane), score), arg.id) -- mutant: moved
end
if f.state == 'backlog' then redis.call('ZADD', key.index, score_of(BACKLOG, score), arg.id) end
reseat(set)
return { 'moved' }
