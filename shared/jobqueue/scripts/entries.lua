-- What the statistics are made of: one entry in a stream for each call that admits jobs, and one for each end of a job.
-- shared/statistics sums them. An entry's fields are all named `e`, and each is the text of one of these:
--   admitted|<ms>|<lane>|<jobs>|<model>
--   ended|<ms>|<lane>|<outcome>|<error's code>|<created_at>|<submitted_at>|<attempts>|<snoozes>|<rescues>|<model>
-- A verb that uses this names root, now and statistics. With statistics = 0 it writes nothing, which costs nothing.

-- Appends an entry. The stream drops what nothing has summed for long.
local function append(...) redis.call('XADD', key.root .. ENTRIES, 'MAXLEN', '~', text(MAX_UNSUMMED), '*', ...) end

-- Notes that jobs of a lane were admitted, given the model of each; it comes after their records.
local function note_admitted(lane, models)
  if arg.statistics == '0' or #models == 0 then return end -- mutant: statistics off
  local parts, count = {}, 0
  table.sort(models)
  for i, model in ipairs(models) do
    count = count + 1
    if models[i + 1] ~= model then
      add(parts, 'e', table.concat({ 'admitted', arg.now, text(lane), text(count), model }, '|'))
      count = 0
    end
  end
  append(unpack(parts))
end

-- Notes a job's end, from what was read of it and what its end has written. It comes directly after the record says
-- `done`.
local function note_end(f, outcome, fields)
  if arg.statistics == '0' then return end
  local snoozes, rescues = fields.snoozes or f.snoozes or '0', fields.rescues or f.rescues or '0' -- mutant: last snooze
  local times = (f.created_at or '') .. '|' .. (f.submitted_at or '')
  local counts = f.attempt .. '|' .. snoozes .. '|' .. rescues
  append('e', table.concat({ 'ended', arg.now, f.lane, outcome, fields.error_code or '', times, counts, f.model }, '|'))
end
