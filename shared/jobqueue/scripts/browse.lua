-- browse: a page of the jobs of all API keys, by one part of the index and then their records.
-- With: keys, walk
-- KEYS: index, root
-- ARGV: high: text, low: text, bound: text, page_size: count, owner: text, user: text, queue: text, model: text,
--       provider: text, batch: text, status: text, after: number, before: number, queue_number: count?,
--       provider_number: count?, names: names...
-- Returns: {jobs: rows, high: text, bound: text}
--   jobs: {id: name, values: values}
-- values: of the job's fields `names`, in their order.
-- high, low: the scores of the part: the history, shares, or where jobs wait and run. The next page begins with high
-- and bound; high is '' if there is none.
-- status: a public one; 'live' for jobs that have not ended, 'ended' for the others.
-- It walks past 1,000 entries and reads 100 jobs at most: two commands, and one for each job that may fit. What the
-- entry itself shows is compared without a command: the owner and the user in the history, a lane elsewhere.
local MAX_WALKED, MAX_READ = 1000, 100 -- entries of the index, and jobs
local FILTERS = { 'owner', 'user', 'queue', 'model', 'provider', 'batch', 'state', 'outcome', 'created_at' }
local names = { unpack(FILTERS) }
add(names, unpack(rest.names))

-- Whether a job in a slot or among the ready ones may be of the queue and the provider that are wanted.
local function is_lane_wanted(score)
  local band = band_of(score)
  if band >= DELAYED then return true end
  local lane = band % READY
  if arg.queue_number ~= '' and queue_of(lane) ~= tonumber(arg.queue_number) then return false end -- mutant: queue
  return arg.provider_number == '' or provider_of(lane) == tonumber(arg.provider_number) -- mutant: provider
end

-- The id of the job that an entry of the index stands for; nil if the entry shows that it does not fit.
local function candidate(row)
  local kind = string.sub(row.member, 1, 1)
  if kind == '@' then
    local owner, user, id = string.match(row.member, '^@([^:]*):(.*)|([^|]*)$')
    return fits({ owner, user }, arg.owner, arg.user) and id -- mutant: history
  end
  if kind == '%' then return string.sub(row.member, 2) end
  return is_lane_wanted(row.score) and row.member
end

-- Whether a job has the status that is wanted.
local function has_status(state, outcome)
  if arg.status == 'live' then return state ~= 'done' end
  if arg.status == 'ended' then return state == 'done' end
  return arg.status == '' or arg.status == status_of(state, outcome) -- mutant: status
end

-- The row of the answer for a job; nil if it does not fit, or is gone.
local function row_of(id)
  local values = redis.call('HMGET', job_key(id), unpack(names))
  local state, outcome, created_at = values[7], values[8], tonumber(values[9] or '0')
  if not state or not has_status(state, outcome) then return nil end
  if not fits(values, arg.owner, arg.user, arg.queue, arg.model, arg.provider, arg.batch) then return nil end
  if created_at < tonumber(arg.after) or created_at >= tonumber(arg.before) then return nil end -- mutant: created
  return { id, { unpack(values, #FILTERS + 1) } }
end

-- The page, and how many of the entries it used up.
local function read_page(rows)
  local page, read_jobs = {}, 0
  for i, row in ipairs(rows) do
    if #page == tonumber(arg.page_size) or read_jobs == MAX_READ then return page, i - 1 end
    local id = candidate(row)
    if id then
      read_jobs = read_jobs + 1
      local found = row_of(id)
      if found then add(page, found) end
    end
  end
  return page, #rows
end

local rows, complete = walk_down(key.index, arg.high, arg.low, arg.bound, MAX_WALKED)
local page, used = read_page(rows)
if used == #rows and complete then return { page, '', '' } end
-- A running job's score has half a ms.
local score = math.floor(rows[used].score)
local half = rows[used].score > score and '.5' or '' -- mutant: half a ms in a cursor
return { page, text(score) .. half, rows[used].member }
