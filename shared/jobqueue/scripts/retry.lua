-- How a job waits for its next attempt. A verb that uses this names index, stats, root, id, now, jitter and
-- retry_bonus.

local MAX_RETRY_DELAY = 3600000 -- ms, unless the first delay is longer

-- How many attempts are used up; those that surely made no submission do not count.
local function used_attempts(f) return tonumber(f.attempt) - tonumber(f.snoozes or '0') end

-- The delay before the next attempt: twice as long each time up to a bound, and up to half as much again by chance.
local function backoff(f)
  local first = tonumber(f.retry_delay)
  local longest = math.max(first, MAX_RETRY_DELAY) -- mutant: longest delay
  local doubled = math.min(first * 2 ^ (used_attempts(f) - 1), longest)
  return doubled * (1 + tonumber(arg.jitter) / 2)
end

-- When a job will have waited too long: the time at the provider was no waiting.
local function new_expire_at(f)
  local at_provider = tonumber(arg.now) - tonumber(f.submitted_at)
  return tonumber(f.expire_at) + math.max(0, at_provider)
end

-- Whether the next attempt could begin before the job has waited too long.
local function is_in_time(f) return tonumber(arg.now) + backoff(f) < new_expire_at(f) end -- mutant: retry in time

-- Puts the job back until its next attempt is due. Returns when that is.
local function retry(f, fields, is_accepted)
  local now = tonumber(arg.now)
  local due_at = text(now + backoff(f))
  local expire_at = new_expire_at(f)
  local score = math.max(0, tonumber(f.score) - tonumber(arg.retry_bonus))
  local alarm = alarm_of(arg.id)
  fields.state, fields.snooze_code, fields.due_at = 'delayed', '', due_at
  fields.prediction, fields.progress = '', ''
  fields.score, fields.expire_at = text(score), text(expire_at)
  write_fields(job_key(arg.id), fields)
  local moves = { score_of(DELAYED, tonumber(due_at)), arg.id, score_of(ALARMS, expire_at), alarm }
  add_share(moves, arg.id, f.share, false)
  redis.call('ZADD', key.index, unpack(moves))
  settle_probe(f, is_accepted)
  -- Its seat must have the same score, by which other jobs are put before it or behind.
  if arg.retry_bonus ~= '0' then redis.call('ZADD', user_key(f.owner, f.user), seat_score(score), arg.id) end
  release_held(f)
  redis.call('HINCRBY', key.stats, 'retried', 1)
  return due_at
end
