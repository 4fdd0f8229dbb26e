-- Submissions whose outcome is unknown. They are in a ZSET, as `likeness|id:attempt:incarnation`:
--    submitted_at   the job waits for the outcome
--   -submitted_at   the attempt was given up, and what it may have made is not accounted for; see adopt.lua
-- The job's field `lost` has the attempt whose outcome is unknown, or was so last. A verb that uses this names stats
-- and root.

-- The member for the current attempt of a job.
local function lost_member(id, f)
  return (f.likeness or '') .. '|' .. id .. ':' .. f.attempt .. ':' .. (f.incarnation or '')
end

-- Whether the job waits for the outcome of its current attempt's submission.
local function is_lost(f) return f.state == 'submitting' and f.lost == f.attempt end

-- Whether it gave up its seat: no more than a cancellation may follow. See leave_seat.
local function has_left_seat(f) return f.left_seat == '1' end

-- Notes that the outcome is unknown, and with it other fields of the job.
local function note_lost(id, f, fields)
  fields.lost = f.attempt
  write_fields(job_key(id), fields)
  redis.call('ZADD', lost_key(), f.submitted_at, lost_member(id, f))
  redis.call('HINCRBY', key.stats, 'unknown', 1)
end

-- Counts how an unknown outcome became known, if it was unknown.
local function settle_lost(id, f, how)
  if not is_lost(f) then return end
  redis.call('ZREM', lost_key(), lost_member(id, f)) -- mutant: settled
  redis.call('HINCRBY', key.stats, how, 1)
end

-- Notes that an attempt is over while what it may have made is not known: no other job may adopt a prediction that
-- this attempt could have made. `kept_for` s later no prediction can be adopted any more.
local function give_up_lost(id, f, now, kept_for)
  local oldest = now - kept_for * 1000
  redis.call('ZREMRANGEBYSCORE', lost_key(), '(' .. text(-oldest), text(oldest))
  redis.call('ZADD', lost_key(), text(-tonumber(f.submitted_at)), lost_member(id, f)) -- mutant: given up
end

-- Notes that it is known what this caller's attempt has made, although it may be over.
local function account_for(f)
  redis.call('ZREM', lost_key(), (f.likeness or '') .. '|' .. this_attempt()) -- mutant: accounted for
end
