-- What contradicts the record of a job, found in one look at all its places. A verb that uses this names index, outbox,
-- root, now, lease_now, patience and late_after.
--
-- A fault is a word, and behind a colon what shows it: `misplaced:160`, a band of the index. faults.py has the words.
local EVENTS = { 'processing', 'completed', 'files', 'failed', 'canceled' }
local NEEDED = { 'lane', 'score', 'expire_at', 'attempt' } -- numbers of each live job
local LOOKED_AT = {
  'state',
  'owner',
  'user',
  'lane',
  'score',
  'due_at',
  'expire_at',
  'batch',
  'share',
  'storing',
  'left_seat',
  'hook_lane',
  'attempt',
  'lost',
  'likeness',
  'incarnation',
  'submitted_at',
  's:processing',
  's:completed',
  's:files',
  's:failed',
  's:canceled',
}

-- Adds a fault and what shows it.
local function note(faults, word, shown) add(faults, word .. ':' .. shown) end

-- Where the index has a job, its alarm and its share; nil for none.
local function places_in_index(id)
  local found = redis.call('ZMSCORE', key.index, id, companions(id))
  return { job = found[1] or nil, alarm = found[2] or nil, share = found[3] or nil }
end

-- The band of a place in the index.
local function shown_band(score) return text(band_of(tonumber(score))) end

-- A job without a record that the index still names.
local function unrecorded_faults(faults, at)
  local score = at.job or at.alarm or at.share
  if score then note(faults, 'no_record', shown_band(score)) end
end

-- An ended job that the index still names: in a slot it takes the place of another one.
local function ended_faults(faults, id, at)
  local score = at.job or at.alarm or at.share
  local takes_slot = score and band_of(tonumber(score)) < READY -- mutant: indexed end
  if score then note(faults, takes_slot and 'leaked_slot' or 'still_indexed', shown_band(score)) end
  if redis.call('TTL', job_key(id)) == -1 then note(faults, 'no_ttl', 'job') end -- mutant: ended without a ttl
end

-- The entry of a live job in the index.
local function entry_faults(faults, f, at)
  if not at.job then
    note(faults, 'not_indexed', f.state)
  elseif not is_in_place(at.job, f, (scores_of(f))) then
    local takes_slot = band_of(tonumber(at.job)) < READY
    note(faults, takes_slot and 'leaked_slot' or 'misplaced', shown_band(at.job)) -- mutant: misplaced
  end
end

-- The alarm and the share of a live job.
local function is_accompanied(f, at)
  local is_away = is_at_provider(f.state)
  -- An alarm that fired while its job was at the provider is gone until the job waits again.
  local is_alarmed = tonumber(at.alarm) == tonumber(score_of(ALARMS, tonumber(f.expire_at)))
    or (is_away and not at.alarm)
  return is_alarmed and (not f.share or tonumber(at.share) == tonumber(share_score(f.share, is_away)))
end

local time_of_look -- read once

-- When a live job must be looked at: its slot in time, its wait not for too long.
local function time_faults(faults, f, at)
  time_of_look = time_of_look or lease_time(arg.lease_now)
  local time, late_after = time_of_look, tonumber(arg.late_after)
  if is_at_provider(f.state) then
    local due = at.job and number_of(tonumber(at.job))
    if not due or band_of(tonumber(at.job)) ~= tonumber(f.lane) then return end
    if due > time + tonumber(arg.patience) then note(faults, 'unwatched_slot', text((due - time) / 1000)) end
    if due < time - late_after then -- mutant: expired lease
      note(faults, 'expired_lease', text((time - due) / 1000))
    end
  elseif tonumber(f.expire_at) < time - late_after then
    note(faults, 'expired_wait', text((time - tonumber(f.expire_at)) / 1000))
  end
end

-- Whether the user's set has a live job as its record says.
local function is_in_set(id, f)
  local score = redis.call('ZSCORE', user_key(f.owner, f.user), id)
  -- The waiting jobs of a batch have no member, nor has a job that left its seat.
  if (f.batch and f.state == 'backlog') or has_left_seat(f) then return not score end
  local _, expected = scores_of(f)
  return tonumber(score or nil) == tonumber(expected)
end

-- The score that a batch's queue must have of a live job: that of its wait, or below zero for one with a seat.
local function queue_score(f) return f.state == 'backlog' and text(tonumber(f.score)) or '-1' end

-- Whether its batch's queue has a live job as its record says.
local function is_in_queue(id, f)
  if not f.batch then return true end
  return tonumber(redis.call('ZSCORE', batch_queue_key(f.batch), id) or nil) == tonumber(queue_score(f))
end

-- A submission of unknown outcome that lists do not settle, since it is not among those that wait for that.
local function is_unlisted(id, f) return is_lost(f) and not redis.call('ZSCORE', lost_key(), lost_member(id, f)) end

-- A live job.
local function live_faults(faults, id, f, at)
  local left = redis.call('TTL', job_key(id))
  if left >= 0 then note(faults, 'ttl_on_live', text(left)) end -- mutant: live with a ttl
  entry_faults(faults, f, at)
  if not is_accompanied(f, at) then note(faults, 'unaccompanied', f.state) end -- mutant: companions
  time_faults(faults, f, at)
  if not is_in_set(id, f) then note(faults, 'not_in_set', f.state) end -- mutant: not in the set
  if not is_in_queue(id, f) then note(faults, 'not_in_batch', f.state) end -- mutant: not in the batch
  if is_unlisted(id, f) then note(faults, 'unlisted', f.attempt) end -- mutant: unlisted
end

-- The pending events of a job that no delivery lane has.
local function lost_events(id, f)
  local lost = {}
  for _, event in ipairs(EVENTS) do
    if is_event_lost(f, event, id) then add(lost, event) end
  end
  return lost
end

-- Whether the files of a job wait for a storing that the outbox does not know.
local function is_unstored(id, f) return f.storing == '1' and not redis.call('ZSCORE', key.outbox, id) end

-- The first field that a live job must have, and does not have or not as a number; nil for none.
local function broken_field(f)
  if not f.owner or not f.user then return 'owner' end
  for _, name in ipairs(NEEDED) do
    if not tonumber(f[name]) then return name end -- mutant: broken field
  end
  return f.state == 'delayed' and not tonumber(f.due_at) and 'due_at' or nil
end

-- All faults of a job, and its record.
local function faults_of(id)
  local f, faults, at = read(job_key(id), unpack(LOOKED_AT)), {}, places_in_index(id)
  if not f.state then
    unrecorded_faults(faults, at)
    return faults, f
  end
  if f.state == 'done' then
    ended_faults(faults, id, at)
  elseif broken_field(f) then
    note(faults, 'broken_record', broken_field(f))
    return faults, f
  else
    live_faults(faults, id, f, at)
  end
  for _, event in ipairs(lost_events(id, f)) do
    note(faults, 'lost_event', event)
  end
  if is_unstored(id, f) then note(faults, 'unstored', 'files') end -- mutant: unstored
  return faults, f
end
