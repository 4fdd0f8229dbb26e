-- batch_read: a batch, which of its jobs live, and which of those are at a provider.
-- KEYS: 1 index  2 batch  3 batch_queue  4 prefix
-- ARGV: 1 batch_id  2 limit  3 first  4 count
-- Returns: {{field, value, ...}, {id of a live job ...}, {id of a job at a provider ...},
--   {output, code, detail, files, ended_at, ...}}
-- The last of `count` jobs from number `first` on, or of fewer if they are large: a command for each.
local flat, batch = redis.call('HGETALL', KEYS[2]), {}
if #flat == 0 then return {{}, {}, {}, {}} end
for i = 1, #flat, 2 do batch[flat[i]] = flat[i + 1] end
local running, mark, results, size = {}, ARGV[1] .. '_', {}, 0
local MAX_BYTES = 3e6 -- of a page: Vercel answers with 4.5 MB at most
if not batch.ended_at then
  for _, row in ipairs(read_head(KEYS[1], tonumber(ARGV[2]), 0).rows) do
    if row.band < READY and string.sub(row.id, 1, #mark) == mark then running[#running + 1] = row.id end
  end
end
for n = tonumber(ARGV[3]), math.min(tonumber(ARGV[3]) + tonumber(ARGV[4]), tonumber(batch.expected)) - 1 do
  local id = batch['i' .. text(n)] or mark .. text(n)
  local found = redis.call('HMGET', KEYS[4] .. 'j:' .. id, 'output', 'error_code', 'error_detail', 'files',
    'ended_at')
  size = size + #(found[1] or '') + #(found[4] or '')
  if size > MAX_BYTES and #results > 0 then break end
  for i = 1, 5 do results[#results + 1] = found[i] or '' end
end
return {flat, batch.ended_at and {} or redis.call('ZRANGE', KEYS[3], 0, -1), running, results}
