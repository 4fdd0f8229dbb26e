-- Who of a user's waiting jobs is ready and who waits in the backlog; sent behind ending to the verbs that change it.

-- Puts a ready job back into its user's backlog.
local function demote(ending, user, id, f)
  if f.batch then
    redis.call('ZADD', ending.prefix .. 'q:' .. f.batch, f.score, id)
    redis.call('ZREM', user, id)
    place_batch(ending.prefix, user, f.batch)
  else
    redis.call('ZADD', user, f.score, id)
  end
  redis.call('ZADD', ending.index, score_of(BACKLOG, tonumber(f.score)), id)
  redis.call('HSET', job_key(ending, id), 'state', 'backlog', 'heirs', '1')
end

-- After a change of a limit or a score: as many of his best jobs are ready as his concurrency admits. Jobs at a provider
-- and jobs that wait for a retry keep their seats.
local function reseat(ending, user)
  local known, ready = read_user(user, ending.cap), {}
  if #known.admitted <= known.cap and #known.waiting == 0 then return end
  for _, job in ipairs(known.admitted) do
    local f = read(job_key(ending, job.id), 'state', 'lane', 'score', 'batch', 'heirs')
    if f.state == 'queued' then ready[#ready + 1] = {id = job.id, f = f, score = tonumber(f.score)} end
    -- A job that was lost with its hash must not be made anew.
    if f.state and f.heirs ~= '1' then redis.call('HSET', job_key(ending, job.id), 'heirs', '1') end
  end
  table.sort(ready, function(a, b) if a.score ~= b.score then return a.score > b.score end return a.id > b.id end)
  local best = known.waiting[1] and known.waiting[1].score
  for i, job in ipairs(ready) do
    local is_over = #known.admitted - i + 1 > known.cap
    if not is_over and not (best and best < job.score) then break end
    demote(ending, user, job.id, job.f)
  end
  promote(ending, user)
end
