-- reprioritize: gives a waiting job another priority; it moves to the place it would have had with it from the start.
-- With: outbox, ending, seats
-- KEYS: index, job, stats, root
-- ARGV: id: name, owner: name, priority: count, priority_unit: count?, now: moment, ttl: seconds, user_limit: count
-- Returns: {not_found} | {moved} | {not_waiting}
-- unit: how much lower the score is for one step of priority; '' where it is the time of submission times 6 - priority.
local f = read(key.job, 'score', 'priority', 'created_at', unpack(ENDING))
if not f.state or f.owner ~= arg.owner then return {'not_found'} end
if not is_waiting(f.state) then return {'not_waiting'} end
local ending, priority = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit), tonumber(arg.priority)
local score
if arg.priority_unit == '' then
  score = tonumber(f.created_at) * (6 - priority)
else
  score = math.max(0, tonumber(f.score) - (priority - tonumber(f.priority)) * tonumber(arg.priority_unit))
end
redis.call('HSET', key.job, 'score', text(score), 'priority', arg.priority)
local user = user_key(ending, f)
if f.state == 'backlog' and f.batch then
  redis.call('ZADD', key.root .. 'q:' .. f.batch, text(score), arg.id)
  place_batch(key.root, user, f.batch)
else
  redis.call('ZADD', user, text(f.state == 'backlog' and score or ADMITTED + score), arg.id)
end
if f.state == 'queued' then redis.call('ZADD', key.index, score_of(READY + tonumber(f.lane), score), arg.id) end
if f.state == 'backlog' then redis.call('ZADD', key.index, score_of(BACKLOG, score), arg.id) end
reseat(ending, user)
return {'moved'}
