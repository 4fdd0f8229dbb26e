-- letters: a page of the dead letters, newest first.
-- With: walk
-- KEYS: dead, root
-- ARGV: owner: text, user: text, queue: text, model: text, code: text, high: number, low: number, bound: text,
--       page_size: count, names: names...
-- Returns: {{{id, died_at, values}, ...}, high, bound}
--   values: of the job's fields `names`, in their order; with high and bound the next page begins, high is '' for none
-- It reads 100 jobs at most: two commands, and one for each job.
local READ = 100
local limit, names = tonumber(arg.page_size), {'owner', 'user', 'queue', 'model', 'error_code', 'state'}
local FILTERS = #names
for _, name in ipairs(rest.names) do names[#names + 1] = name end
local rows, complete = walk_down(key.dead, arg.high, arg.low, arg.bound, READ)
local found, last = {}, 0
for i, row in ipairs(rows) do
  if #found == limit then break end
  last = i
  local values = redis.call('HMGET', key.root .. 'j:' .. row.member, unpack(names))
  if values[FILTERS] and fits(values, arg.owner, arg.user, arg.queue, arg.model, arg.code) then
    found[#found + 1] = {row.member, text(row.score), {unpack(values, FILTERS + 1)}}
  end
end
if last == #rows and complete then return {found, '', ''} end
return {found, text(rows[last].score), rows[last].member}
