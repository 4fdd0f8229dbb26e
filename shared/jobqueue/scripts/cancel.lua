-- cancel: ends a waiting job at once; asks for the end of one that is at the provider.
-- With: keys, spending, lost, room, pauses, users, tags, shares, runs, seats, yielding, outbox, entries, ending
-- KEYS: index, job, stats, root
-- ARGV: id: name, owner: name, token: name, now: moment, ttl: seconds, user_limit: count, statistics: flag
-- Returns: {not_found} | {canceled, follow: text} | {already_terminal, outcome: name} |
--       {cancel_requested, attempt: count, prediction: text, provider: provider, incarnation: text}
local f = read(key.job, 'attempt', 'incarnation', 'prediction', 'cancel_token', unpack(ENDING))
if not f.state or f.owner ~= arg.owner then return { 'not_found' } end -- mutant: owner
if f.state == 'done' then
  settle(arg.id, f)
  if f.cancel_token == arg.token and f.outcome == 'canceled' then return { 'canceled', '' } end
  return { 'already_terminal', f.outcome }
end
if cancel_job(arg.id, f, arg.token) then return { 'canceled', follow() } end
return { 'cancel_requested', f.attempt, f.prediction or '', f.lane, f.incarnation or '' }
