-- forget_runs: forgets how runs of models went that had none for long.
-- KEYS: root
-- ARGV: now: moment, kept_for: milliseconds, models: names...
-- Returns: forgotten: count
-- models: provider and model of each, as their keys have them.
local forgotten = 0
for _, model in ipairs(rest.models) do
  local runs = key.root .. RUNS .. model
  local at = redis.call('HGET', runs, 'at')
  if at and tonumber(at) + tonumber(arg.kept_for) < tonumber(arg.now) then -- mutant: old runs
    redis.call('DEL', runs)
    forgotten = forgotten + 1
  end
end
return forgotten
