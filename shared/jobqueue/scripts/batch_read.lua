-- batch_read: a batch, which of its jobs live, and which of those are at a provider.
-- KEYS: index, batch, batch_queue, root
-- ARGV: batch_id: name, slot_limit: count, first: count, count: count
-- Returns: {{field, value, ...}, {id of a live job ...}, {id of a job at a provider ...},
--   {output, code, detail, files, ended_at, ...}}
-- The last of `count` jobs from number `first` on, or of fewer if they are large: a command for each.
local flat, batch = redis.call('HGETALL', key.batch), {}
if #flat == 0 then return {{}, {}, {}, {}} end
for i = 1, #flat, 2 do batch[flat[i]] = flat[i + 1] end
local running, mark, results, size = {}, arg.batch_id .. '_', {}, 0
local MAX_BYTES = 3e6 -- of a page: Vercel answers with 4.5 MB at most
if not batch.ended_at then
  for _, row in ipairs(read_head(key.index, tonumber(arg.slot_limit), 0).rows) do
    if row.band < READY and string.sub(row.id, 1, #mark) == mark then running[#running + 1] = row.id end
  end
end
for n = tonumber(arg.first), math.min(tonumber(arg.first) + tonumber(arg.count), tonumber(batch.expected)) - 1 do
  local id = batch['i' .. text(n)] or mark .. text(n)
  local found = redis.call('HMGET', key.root .. 'j:' .. id, 'output', 'error_code', 'error_detail', 'files',
    'ended_at')
  size = size + #(found[1] or '') + #(found[4] or '')
  if size > MAX_BYTES and #results > 0 then break end
  for i = 1, 5 do results[#results + 1] = found[i] or '' end
end
return {flat, batch.ended_at and {} or redis.call('ZRANGE', key.batch_queue, 0, -1), running, results}
