-- trip: notes that a submission got no usable answer. Its outcome is unknown, and a caller looks for it early if the
-- provider has a list. It counts as a failure of its model, which may open the model's circuit.
-- With: keys, lost, room, pauses, users, shares, runs, seats
-- KEYS: index, job, stats, root
-- ARGV: id: name, attempt: count, incarnation: text, now: moment, lease_now: moment?,
--       look_in: milliseconds?, circuit_failures: count, circuit_pause: milliseconds, user_limit: count
-- Returns: {counted} | {stale}
-- look_in: ms until the provider's list is asked; '' if it has none: then not before the lease is over.
local f = read(
  key.job,
  'attempt',
  'incarnation',
  'state',
  'lane',
  'model',
  'share',
  'owner',
  'user',
  'heirs',
  'lost',
  'likeness',
  'cancel_requested',
  'submitted_at',
  'probe',
  'lease_until',
  'failed_in'
)
if f.attempt ~= arg.attempt or is_replaced(f) then return { 'stale' } end
if f.state ~= 'submitting' then
  settle_late(f)
  return { 'stale' }
end
if f.lost == arg.attempt then return { 'stale' } end -- mutant: once
local fields, look_in = { tripped = arg.attempt }, tonumber(arg.look_in)
if look_in then fields.overdue_at = text(tonumber(arg.now) + look_in) end
local known = arg.circuit_failures ~= '0' and read_row(f, fields)
if f.cancel_requested == '1' then leave_seat(arg.id, f, fields) end
note_lost(arg.id, f, fields)
if look_in then
  local look_at = math.min(lease_time(arg.lease_now) + look_in, tonumber(f.lease_until)) -- mutant: early look
  redis.call('ZADD', key.index, score_of(tonumber(f.lane), whole_seconds(look_at)), arg.id)
end
settle_probe(f)
if known then
  count_failure(f, known, tonumber(arg.now), tonumber(arg.circuit_failures), tonumber(arg.circuit_pause))
end
return { 'counted' }
