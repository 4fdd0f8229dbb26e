-- batch_read: a batch, its live jobs, and those of them at a provider.
-- With: keys, room
-- KEYS: index, batch, batch_queue, root
-- ARGV: batch_id: name, slot_limit: count, first: count, count: count
-- Returns: {fields: pairs, live: names, running: names, results: names}
-- live, running: ids of the batch's live jobs, and of those at a provider.
-- results: output, code, detail, files and ended_at, one job after the other.
-- The last list has the results of `count` jobs from number `first` on, or of fewer if they are large: a command for
-- each.
local MAX_BYTES = 3e6 -- of a page: Vercel answers with 4.5 MB at most
local RESULT = { 'output', 'error_code', 'error_detail', 'files', 'ended_at' } -- of each job
local mark = arg.batch_id .. '_'

-- The batch's jobs at a provider, if it may have any.
local function running_jobs(batch)
  local running = {}
  if batch.ended_at then return running end
  for _, part in ipairs(read_head(tonumber(arg.slot_limit), 0, all).parts) do
    for place = part.first, part.band < READY and part.last or 0, 2 do
      local id = part.flat[place]
      if string.sub(id, 1, #mark) == mark then add(running, id) end
    end
  end
  return running
end

-- The results of a page of jobs, one after the other; fewer than `count` if they are large, but at least one.
local function read_results(batch)
  local results, size, first = {}, 0, tonumber(arg.first)
  for number = first, math.min(first + tonumber(arg.count), tonumber(batch.expected)) - 1 do
    local id = batch['i' .. text(number)] or mark .. text(number)
    local f = read(job_key(id), unpack(RESULT))
    size = size + #(f.output or '') + #(f.files or '')
    if size > MAX_BYTES and #results > 0 then break end
    for _, name in ipairs(RESULT) do
      add(results, f[name] or '')
    end
  end
  return results
end

local flat = redis.call('HGETALL', key.batch)
if #flat == 0 then return { {}, {}, {}, {} } end
local batch = from_pairs(flat)
local running = running_jobs(batch)
local results = read_results(batch)
return { flat, batch.ended_at and {} or redis.call('ZRANGE', key.batch_queue, 0, -1), running, results }
