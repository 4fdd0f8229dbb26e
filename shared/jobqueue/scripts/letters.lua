-- letters: a page of the dead letters, newest first.
-- With: keys, walk
-- KEYS: dead, root
-- ARGV: owner: text, user: text, queue: text, model: text, code: text, high: number, low: number, bound: text,
--       page_size: count, names: names...
-- Returns: {letters: rows, high: number?, bound: text}
--   letters: {id: name, died_at: number, values: values}
-- values: of the job's fields `names`, in their order.
-- The next page begins with high and bound; high is '' if there is none.
-- It reads at most 100 jobs: two commands, and one for each job.
local MAX_READ = 100 -- jobs
local FILTERS = { 'owner', 'user', 'queue', 'model', 'error_code', 'state' }
local names = { unpack(FILTERS) }
add(names, unpack(rest.names))

local rows, complete = walk_down(key.dead, arg.high, arg.low, arg.bound, MAX_READ)
local found, last = {}, 0
for i, row in ipairs(rows) do
  if #found == tonumber(arg.page_size) then break end
  last = i
  local values = redis.call('HMGET', job_key(row.member), unpack(names))
  local has_state = values[#FILTERS]
  if has_state and fits(values, arg.owner, arg.user, arg.queue, arg.model, arg.code) then
    add(found, { row.member, text(row.score), { unpack(values, #FILTERS + 1) } })
  end
end
if last == #rows and complete then return { found, '', '' } end
return { found, text(rows[last].score), rows[last].member }
