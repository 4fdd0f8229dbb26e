-- list: a page of an owner's jobs, newest first, by what the history and then their records say.
-- With: keys, walk
-- KEYS: index, root
-- ARGV: owner: name, user: text, status: text, queue: text, model: text, batch: text, high: number, low: number,
--       bound: text, page_size: count, with_gone: flag, names: names...
-- Returns: {jobs: rows, high: number?, bound: text}
--   jobs: {id: name, values: values}
-- values: of the job's fields `names`, in their order.
-- The next page begins with high and bound; high is '' if there is none.
-- with_gone: 1 for the ids of jobs that no longer exist too, without values.
-- bound: the page begins below this member of the owner, given without what all of the owner's members begin with; ''
-- for the first one.
-- It walks past 1,000 entries and reads 100 jobs at most: two commands, and one for each job that may fit. Entries of
-- other owners are passed over by their text, and none is returned.
local MAX_WALKED, MAX_READ = 1000, 100 -- entries of the history, and jobs
local FILTERS = { 'queue', 'model', 'batch', 'state', 'outcome' }
local names = { unpack(FILTERS) }
add(names, unpack(rest.names))
local mine = '@' .. arg.owner .. ':'

-- A member of the history without what all members of this owner begin with; nil if it is another owner's.
local function rest_of(member)
  if string.sub(member, 1, #mine) ~= mine then return nil end
  return string.sub(member, #mine + 1)
end

-- The row of the answer for a job; nil if it does not fit, or is gone and not asked for.
local function row_of(id)
  local values = redis.call('HMGET', job_key(id), unpack(names))
  local state, outcome = values[4], values[5]
  if not state and arg.with_gone == '1' then return { id, {} } end
  if not state or not fits(values, arg.queue, arg.model, arg.batch) then return nil end
  if arg.status ~= '' and arg.status ~= status_of(state, outcome) then return nil end
  return { id, { unpack(values, #FILTERS + 1) } }
end

-- The page, and how many of the entries it used up.
local function read_page(rows)
  local page, read_jobs = {}, 0
  for i, row in ipairs(rows) do
    if #page == tonumber(arg.page_size) or read_jobs == MAX_READ then return page, i - 1 end
    local user, id = string.match(rest_of(row.member) or '', '^(.*)|([^|]*)$')
    if id and (arg.user == '' or user == arg.user) then
      read_jobs = read_jobs + 1
      local found = row_of(id)
      if found then add(page, found) end
    end
  end
  return page, #rows
end

-- No owner's name holds a colon, and a semicolon comes next to it.
local bound = arg.bound == '' and '@' .. arg.owner .. ';' or mine .. arg.bound
local high, low = score_of(HISTORY, tonumber(arg.high)), score_of(HISTORY, tonumber(arg.low))
local rows, complete = walk_down(key.index, high, low, bound, MAX_WALKED)
local page, used = read_page(rows)
if used == #rows and complete then return { page, '', '' } end
local member, submitted_at = rows[used].member, number_of(rows[used].score)
local next_bound = rest_of(member)
if next_bound then return { page, text(submitted_at), next_bound } end
-- Among other owners' entries of one moment: this owner's own of it may still come, or cannot.
if is_below(member, mine) then return { page, text(submitted_at - 1), '' } end
return { page, text(submitted_at), '' }
