-- Shared by all verbs; sent in front of each of them.
--
-- z, the index: a ZSET that holds each live job exactly once. A score is band * 1e14 + milliseconds, so one variadic
-- ZADD moves jobs between bands and a job cannot be in two of them; 40 bands stay exact in a double (2^53 > 9e15).
--   band 0..19   slots of queue k      ms = when somebody has to look: lease end (submitting) or next check (running)
--   band 20..39  ready of queue k - 20 ms = priority score, lowest first
--   band 40      delayed               ms = when due
local BAND, READY, DELAYED, QUEUES = 1e14, 20, 40, 20

-- Lua prints big numbers as 1.79e+12; the store must get every digit.
local function text(number) return string.format('%.0f', number) end
local function score_of(band, ms) return text(band * BAND + ms) end
local function band_of(score) return math.floor(score / BAND) end
local function ms_of(score) return score - band_of(score) * BAND end

-- The time that leases go by: the store's own clock, so that no caller's clock can end a lease early.
local function lease_time(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function numbers(csv)
  local list = {}
  for number in string.gmatch(csv, '%d+') do list[#list + 1] = tonumber(number) end
  return list
end

-- The head of the index, parsed. `complete` says that nothing lies behind it.
local function read_head(index, size)
  local flat = redis.call('ZRANGE', index, 0, size - 1, 'WITHSCORES')
  local head = {rows = {}, complete = #flat / 2 < size, slots = 0, by_queue = {}}
  for k = 0, QUEUES - 1 do head.by_queue[k] = 0 end
  for i = 1, #flat, 2 do
    local score = tonumber(flat[i + 1])
    local row = {id = flat[i], band = band_of(score), ms = ms_of(score)}
    head.rows[#head.rows + 1] = row
    if row.band < READY then
      head.slots = head.slots + 1
      head.by_queue[row.band] = head.by_queue[row.band] + 1
    end
  end
  return head
end

-- Whether something can be claimed, once room is there.
local function waiting(index, now)
  local count = redis.call('ZCOUNT', index, score_of(READY, 0), score_of(DELAYED, now))
  return count > 0 and '1' or '0'
end

-- Ends a job: frees first and grows last, so that it works when the store takes no growth; only here a TTL is set.
local function end_job(index, job_key, stats, user_key, id, outcome, now, ttl, fields)
  redis.call('ZREM', index, id)
  redis.call('ZREM', user_key, id)
  redis.call('HSET', job_key, 'state', 'done', 'outcome', outcome, 'ended_at', now, unpack(fields))
  redis.call('EXPIRE', job_key, ttl)
  redis.call('HINCRBY', stats, outcome, 1)
end

-- Remembers a job that used up its attempts; entries whose jobs have expired go with the same call.
local function bury(dead, id, now, ttl)
  redis.call('ZADD', dead, now, id)
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', text(tonumber(now) - tonumber(ttl) * 1000))
end

