-- Where a live job belongs, as its record says. A verb that uses this names now.

-- The scores that a job of this state has in the index and in its user's set.
local function scores_of(f)
  local lane, score = tonumber(f.lane), tonumber(f.score)
  if f.state == 'queued' then return score_of(READY + lane, score), seat_score(score) end
  if f.state == 'delayed' then return score_of(DELAYED, tonumber(f.due_at)), seat_score(score) end
  if f.state == 'backlog' then return score_of(BACKLOG, score), text(score) end
  -- A job that may be at the provider keeps its slot, and is the first that a claim hands out.
  return slot_score(f.state, lane, tonumber(arg.now)), seat_score(score)
end

-- Whether a score that the index has of a job is where the job's record says.
local function is_in_place(score, f, expected)
  if not score then return false end
  if is_at_provider(f.state) then return band_of(tonumber(score)) == tonumber(f.lane) end
  return tonumber(score) == tonumber(expected) -- mutant: place in the index
end
