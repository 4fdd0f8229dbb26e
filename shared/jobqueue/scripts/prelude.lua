-- What all verbs share; sent in front of each of them.
--
-- z, the index: a ZSET that holds each live job exactly once. A score is band * 2e13 + a number. So one variadic ZADD
-- moves jobs between bands, and a job cannot be in two of them. 325 bands stay exact in a double (2^53 > 9e15).
--
--   band        member           number
--   -1          a gate           what a claim must know besides the jobs; see room.lua
--   0 to 159    slots of a lane  ms when something is due: the lease ends (submitting), the next check (running); see
--                                slot_score
--   160 to 319  ready jobs       the priority score, lowest first; the lane is the band less 160
--   320         delayed jobs     ms when the job is due
--   321         the backlogs     the priority score; the order that counts is in the user's own set, see users.lua
--   322         alarms, `!id`    ms when the job has waited too long
--               shares, `%id`    above all alarms: whose job it is, and whether it waits or is at a provider
--   323         the history      ms when the job was submitted; `@owner:user|id` stays when the job ends
--
-- A lane is a queue at a provider: number of the queue * 8 + number of the provider. The
-- loader puts the numbers here, as BAND, READY and so on: see constants.py.

-- A number with all its digits; Lua alone prints big ones as 1.79e+12.
local function text(number) return string.format('%.0f', number) end

-- The index's score of a number in a band.
local function score_of(band, number) return text(band * BAND + number) end

-- The index's score of a job's slot. That of a running job is half a ms less, as no other is: a search for submissions
-- need not read the job.
local function slot_score(state, lane, ms)
  if state ~= 'running' then return score_of(lane, ms) end -- mutant: half a ms
  return score_of(lane, ms - 1) .. '.5'
end

-- The band that a score of the index is in.
local function band_of(score) return math.floor(score / BAND) end

-- The number that a score of the index has in its band.
local function number_of(score) return score - band_of(score) * BAND end

-- The index's score of a gate's value.
local function gate_score(value) return score_of(-1, value) end

-- The outbox' score of a job whose files have to be stored at a moment.
local function storing_score(ms) return score_of(-1, ms) end

-- The queue of a lane.
local function queue_of(lane) return math.floor(lane / PROVIDERS) end

-- The provider of a lane.
local function provider_of(lane) return lane % PROVIDERS end

-- The member of the index that says when a job has waited too long.
local function alarm_of(id) return '!' .. id end

-- The member of the index that says whose job it is.
local function share_of(id) return '%' .. id end

-- The index's score of a job's share: a number of its API key and user, by which waiting jobs and slots are counted.
local function share_score(share, is_at_provider)
  return score_of(ALARMS, (is_at_provider and SLOT_SHARES or WAITING_SHARES) + tonumber(share))
end

-- What the index holds of a live job, besides the job itself.
local function companions(id) return alarm_of(id), share_of(id) end

-- The time that leases go by: the store's own clock, so that no caller's clock can end a lease early.
local function lease_time(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whether a call was sent so long before a moment of the store's clock that its caller has given it up: it is a copy
-- that a connection held back. A verb that uses this names sent_at and patience.
local function is_late_copy(moment)
  return moment - tonumber(arg.sent_at) > tonumber(arg.patience) -- mutant: late copy
end

-- A time in ms without the part below a second; a claim's mark goes there.
local function whole_seconds(ms) return math.floor(ms / 1000) * 1000 end

-- The list of numbers that an argument holds.
local function numbers(csv)
  local list = {}
  for number in string.gmatch(csv, '[^,]+') do
    list[#list + 1] = tonumber(number)
  end
  return list
end

-- The arguments from a number on; the loader puts this in place of `rest.name`.
local function arguments_from(first)
  local list = {}
  for i = first, #ARGV do
    list[#list + 1] = ARGV[i]
  end
  return list
end

-- Appends all that follow to a list.
local function add(list, first, ...)
  list[#list + 1] = first
  for i = 1, select('#', ...) do
    list[#list + 1] = (select(i, ...))
  end
end

-- Adds a job's share to scores and members of the index. A job that an earlier release admitted has none.
local function add_share(moves, id, share, is_at_provider)
  if share then add(moves, share_score(share, is_at_provider), share_of(id)) end
end

-- Whether an operator's change of limits comes too late. Each change has a mark and names that of the change before it.
-- So a copy that a connection holds back does not undo a later change. It needs stats, and the arguments seen and mark.
local function is_late_change()
  local last = redis.call('HGET', key.stats, 'limits_mark') or '0'
  if last == arg.mark then return false end -- a repeat
  if last ~= arg.seen then return true end -- mutant: late change
  redis.call('HSET', key.stats, 'limits_mark', arg.mark)
  return false
end

local MAX_PARTS = 3000 -- of one command; a score and its member go together

-- Writes any number of parts into a sorted set, or removes them.
local function write_parts(command, set, parts)
  for first = 1, #parts, MAX_PARTS do
    redis.call(command, set, unpack(parts, first, math.min(first + MAX_PARTS - 1, #parts))) -- mutant: many parts
  end
end

-- The table of a flat list of names and values.
local function from_pairs(flat)
  local named = {}
  for i = 1, #flat, 2 do
    named[flat[i]] = flat[i + 1]
  end
  return named
end

-- The named fields of a hash; absent ones are nil.
local function read(hash, ...)
  local names, found = { ... }, {}
  local values = redis.call('HMGET', hash, ...)
  for i, name in ipairs(names) do
    if values[i] then found[name] = values[i] end
  end
  return found
end

-- All fields of a hash.
local function read_all(hash) return from_pairs(redis.call('HGETALL', hash)) end

-- Writes fields into a hash; `more` has further names and values by turns.
local function write_fields(hash, fields, more)
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  for _, part in ipairs(more or {}) do
    flat[#flat + 1] = part
  end
  redis.call('HSET', hash, unpack(flat))
end

-- What a provider runs for a model: the version, if the name has one. So two names of a version are one model.
local function run_of(model) return string.match(model, '[^:]*$') end

-- How an answer says yes or no.
local function flag(is_true) return is_true and '1' or '0' end

-- Whether the record belongs to another incarnation of the job than the caller means: that one was deleted, and its id
-- was used again. A verb that uses this names `incarnation`.
local function is_replaced(f) return (f.incarnation or '') ~= arg.incarnation end -- mutant: incarnation

-- What a prediction's key says of the attempt that the caller means.
local function this_attempt() return arg.id .. ':' .. arg.attempt .. ':' .. arg.incarnation end -- mutant: attempt

-- Whether a job in this state waits.
local function is_waiting(state) return state == 'queued' or state == 'delayed' or state == 'backlog' end

-- Whether a job in this state may be at the provider.
local function is_at_provider(state) return state == 'submitting' or state == 'running' end
