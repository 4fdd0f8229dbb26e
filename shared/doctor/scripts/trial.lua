-- trial: tries on this very store what the queue's scripts rely on, under a key that no other script knows. The key
-- expires in a minute, should this script stop before it deletes it.
-- With: room
-- KEYS: trial
-- Returns: {seen: pairs}
-- seen: what was tried, and what came of it; trials.py has what must come.
local seen = {}
local MANY = 1500 -- members in one command; as many as the queue's longest

-- Notes what came of a trial.
local function note(name, value) add(seen, name, value) end

-- What a command that must fail answers; the script goes on.
local function failure(...)
  local answer = redis.pcall(...)
  return answer and answer.err or 'no error'
end

-- Numbers beyond the digits that Lua prints, in and out of the store.
local function try_numbers()
  local high = score_of(HISTORY, 1900000000123)
  note('number', text(6500000000000001))
  redis.call('ZADD', key.trial, high, 'history', slot_score('running', 159, 1900000000123), 'slot')
  redis.call('EXPIRE', key.trial, 60)
  note('score', text(tonumber(redis.call('ZSCORE', key.trial, 'history')) - tonumber(high)))
  -- The slot is below its moment, and not the moment before.
  local first, last = score_of(159, 1900000000122), '(' .. score_of(159, 1900000000123)
  note('half', text(redis.call('ZCOUNT', key.trial, '(' .. first, last)))
end

-- Options of commands that came late to Redis.
local function try_options()
  redis.call('ZADD', key.trial, 'LT', '5', 'slot')
  redis.call('ZADD', key.trial, 'LT', '7', 'slot')
  redis.call('ZADD', key.trial, 'XX', 'INCR', '1', 'slot')
  note('options', text(tonumber(redis.call('ZSCORE', key.trial, 'slot'))))
  local scores = redis.call('ZMSCORE', key.trial, 'nothing', 'slot')
  note('absent', scores[1] and 'a value' or 'none')
end

-- As many parts in one command as the queue sends.
local function try_many()
  local parts = {}
  for i = 1, MANY do
    add(parts, text(i), 'member' .. text(i))
  end
  redis.call('ZADD', key.trial, unpack(parts))
  note('many', text(redis.call('ZCARD', key.trial)))
end

local time = redis.call('TIME')
note('time', time[1] .. '.' .. time[2])
try_numbers()
try_options()
try_many()
note('error', failure('HGET', key.trial, 'field'))
local info = redis.pcall('INFO')
note('info', info.err and '' or info)
redis.call('DEL', key.trial)
return { seen }
