-- letters: a page of the dead letters, newest first.
-- With: walk
-- KEYS: 1 dead  2 prefix
-- ARGV: 1 owner  2 user  3 queue  4 model  5 code  6 high  7 low  8 bound  9 limit  10.. names
-- Returns: {{{id, died_at, values}, ...}, high, bound}
--   values: of the job's fields `names`, in their order; with high and bound the next page begins, high is '' for none
-- It reads 100 jobs at most: two commands, and one for each job.
local READ = 100
local limit, names = tonumber(ARGV[9]), {'owner', 'user', 'queue', 'model', 'error_code', 'state'}
local FILTERS = #names
for _, name in ipairs({unpack(ARGV, 10)}) do names[#names + 1] = name end
local rows, complete = walk_down(KEYS[1], ARGV[6], ARGV[7], ARGV[8], READ)
local found, last = {}, 0
for i, row in ipairs(rows) do
  if #found == limit then break end
  last = i
  local values = redis.call('HMGET', KEYS[2] .. 'j:' .. row.member, unpack(names))
  if values[FILTERS] and fits(values, ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]) then
    found[#found + 1] = {row.member, text(row.score), {unpack(values, FILTERS + 1)}}
  end
end
if last == #rows and complete then return {found, '', ''} end
return {found, text(rows[last].score), rows[last].member}
