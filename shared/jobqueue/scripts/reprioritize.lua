-- reprioritize: gives a waiting job another priority; it moves to the place it would have had with it from the start.
-- With: outbox, ending, seats
-- KEYS: 1 index  2 job  3 stats  4 prefix
-- ARGV: 1 id  2 owner  3 priority  4 unit  5 now  6 ttl  7 user_limit
-- Returns: {not_found} | {moved} | {not_waiting}
-- unit: how much lower the score is for one step of priority; '' where it is the time of submission times 6 - priority.
local f = read(KEYS[2], 'score', 'priority', 'created_at', unpack(ENDING))
if not f.state or f.owner ~= ARGV[2] then return {'not_found'} end
if not is_waiting(f.state) then return {'not_waiting'} end
local ending, priority = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[5], ARGV[6], ARGV[7]), tonumber(ARGV[3])
local score
if ARGV[4] == '' then
  score = tonumber(f.created_at) * (6 - priority)
else
  score = math.max(0, tonumber(f.score) - (priority - tonumber(f.priority)) * tonumber(ARGV[4]))
end
redis.call('HSET', KEYS[2], 'score', text(score), 'priority', ARGV[3])
local user = user_key(ending, f)
if f.state == 'backlog' and f.batch then
  redis.call('ZADD', KEYS[4] .. 'q:' .. f.batch, text(score), ARGV[1])
  place_batch(KEYS[4], user, f.batch)
else
  redis.call('ZADD', user, text(f.state == 'backlog' and score or ADMITTED + score), ARGV[1])
end
if f.state == 'queued' then redis.call('ZADD', KEYS[1], score_of(READY + tonumber(f.lane), score), ARGV[1]) end
if f.state == 'backlog' then redis.call('ZADD', KEYS[1], score_of(BACKLOG, score), ARGV[1]) end
reseat(ending, user)
return {'moved'}
