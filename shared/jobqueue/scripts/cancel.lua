-- cancel: ends a waiting job at once; asks for the end of one that is at the provider.
-- With: outbox, ending
-- KEYS: 1 index  2 job  3 stats  4 prefix
-- ARGV: 1 id  2 owner  3 token  4 now  5 ttl  6 user_limit
-- Returns: {not_found} | {canceled, follow} | {cancel_requested, attempt, prediction, lane} | {already_terminal, outcome}
local f = read(KEYS[2], 'attempt', 'prediction', 'outcome', 'cancel_token', unpack(ENDING))
if not f.state or f.owner ~= ARGV[2] then return {'not_found'} end
if f.state == 'done' then
  if f.cancel_token == ARGV[3] and f.outcome == 'canceled' then return {'canceled', ''} end
  return {'already_terminal', f.outcome}
end
local ending = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[4], ARGV[5], ARGV[6])
if cancel_job(ending, ARGV[1], f, ARGV[3]) then return {'canceled', follow_of(ending)} end
return {'cancel_requested', f.attempt, f.prediction or '', f.lane}
