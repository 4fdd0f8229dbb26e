-- What refusals have shown of a provider, p:<provider>: a HASH that is kept for an hour after the last one.
--   since             when the pause began; it names the pause too
--   lifted            the last pause that an accepted submission has ended
--   at code status    the last refusal
--   refusals          since the pause began
--   suspects_until    until when a probe in the pause is a job that nothing speaks against, or there is none
--   model:<model> user:<share>  the last pause in which a job of it was refused; a `+` behind it: another job was
--                     accepted after one of its refusals; a `-`: each refusal was a 429, which others never disprove
-- A verb that uses this names index and root; one that may end a probe also now, one of a late answer also attempt.
local PAUSE_TTL = 3600 -- s
local MAX_REFUSED = 200 -- fields of models and users; beyond them all of them are forgotten

-- HASH: what refusals have shown of a provider.
local function pause_key(provider) return key.root .. PAUSES .. text(provider) end

-- Whether a gate is a provider's pause.
local function is_pause(gate) return string.sub(gate, 1, 2) == '~p' end

-- What is known of a provider's refusals; `since` and `lifted` are numbers.
local function read_refusals(provider)
  local known = read_all(pause_key(provider))
  known.since, known.lifted = tonumber(known.since or '0'), tonumber(known.lifted or '0')
  return known
end

-- The fields of a job's model and user.
local function names_of(f) return 'model:' .. run_of(f.model), 'user:' .. (f.share or '') end

-- The pause in which a model or a user was refused last, or nil, and whether another job was accepted after a refusal.
local function refusal_of(known, name)
  local noted = known[name]
  if not noted then return nil, false end
  local pause, mark = tonumber(string.match(noted, '%d+')), string.sub(noted, -1)
  return pause, mark ~= '-' and (pause <= known.lifted or mark == '+')
end

-- What is noted behind the pause of a model's or user's refusal. Too many submissions are never their own fault.
local function mark_of(known, name, code)
  local _, is_disproved = refusal_of(known, name)
  if is_disproved then return '+' end
  local is_first = not known[name] or string.sub(known[name], -1) == '-'
  return code == 'rate_limited' and is_first and '-' or '' -- mutant: mark of a 429
end

-- How likely a job is refused as others were in this pause, from 0: the best probe is the least likely.
local function likeness(known, f)
  local model, user = names_of(f)
  local alike = (f.refusals or '0') ~= '0' and 4 or 0 -- mutant: probe of a refused job
  if refusal_of(known, model) == known.since then alike = alike + 2 end -- mutant: probe of a refused model
  if refusal_of(known, user) == known.since then alike = alike + 1 end -- mutant: probe of a refused user
  return alike
end

-- Whether a job is a suspect: jobs of this model, or of this user, were refused while the provider accepted others.
local function is_suspect(known, f)
  local model, user = names_of(f)
  local _, is_model = refusal_of(known, model)
  local _, is_user = refusal_of(known, user)
  return is_model or is_user
end

-- How little a job is fit to be the probe, from 0: that is a job that nothing speaks against.
local function suspicion(known, f)
  return 2 * likeness(known, f) + (is_suspect(known, f) and 1 or 0) -- mutant: probe of a suspect
end

-- What a refusal speaks against: the model, or the user, if only this one was refused while others were accepted.
local function blamed(known, f)
  local model, user = names_of(f)
  local _, is_model = refusal_of(known, model)
  local _, is_user = refusal_of(known, user)
  if is_model == is_user then return { model, user } end
  return { is_model and model or user }
end

-- Forgets the refusals of a model, since a job of it was accepted. Those of its user only if this very job was refused
-- before: users could free themselves by good jobs next to bad ones.
local function absolve(f)
  local model, user = names_of(f)
  local names = (f.refusals or '0') ~= '0' and { model, user } or { model } -- mutant: absolved user
  redis.call('HDEL', pause_key(provider_of(tonumber(f.lane))), unpack(names)) -- mutant: absolved
end

-- Notes a refusal in a pause; `said` has its time, code and status, and until when suspects wait.
local function note_refusal(provider, known, f, pause, said)
  local noted, refusals = pause_key(provider), pause == known.since and tonumber(known.refusals or '0') or 0
  local fields = { since = text(pause), at = said.at, code = said.code, status = said.status }
  fields.refusals, fields.suspects_until = text(refusals + 1), said.suspects_until
  for _, name in ipairs(blamed(known, f)) do -- mutant: blamed
    fields[name] = text(pause) .. mark_of(known, name, said.code)
  end
  local size = 0
  for _ in pairs(known) do
    size = size + 1
  end
  if size > MAX_REFUSED then
    redis.call('DEL', noted)
    fields.lifted = text(known.lifted) -- mutant: lifted pause
  end
  write_fields(noted, fields)
  redis.call('EXPIRE', noted, PAUSE_TTL)
end

-- Ends a pause, since the provider has accepted a submission of job `f`: so what was refused was at fault itself.
local function lift(gate, f)
  if redis.call('ZREM', key.index, gate) == 0 then return end
  local noted = key.root .. PAUSES .. string.sub(gate, 3)
  local since = redis.call('HGET', noted, 'since')
  if since then redis.call('HSET', noted, 'lifted', since) end -- mutant: disproved
  if since and f.model then absolve(f) end
end

-- Whether a gate is held by a job's probe.
local function is_probe_of(f, gate)
  local set_at = redis.call('ZSCORE', key.index, gate)
  return set_at and tonumber(set_at) + BAND == tonumber(f.lease_until)
end

-- Ends a job's probe of its provider: if it was accepted, the pause is over; if not, another job is the probe.
local function settle_pause(f, is_accepted)
  local gate = pause_gate(provider_of(tonumber(f.lane)))
  if (f.probe or '') == '' or not is_probe_of(f, gate) then return end
  if is_accepted then -- mutant: accepted probe
    lift(gate, f)
  else
    redis.call('ZADD', key.index, gate_score(tonumber(arg.now)), gate)
  end
end

-- Ends a job's probes of circuits, so that other jobs are the next ones.
local function settle_circuits(f)
  if (f.probe or '') == '' then return end
  local provider = provider_of(tonumber(f.lane))
  for _, gate in ipairs({ circuit_gate(provider, f.model), own_circuit_gate(provider, f.model, f.share) }) do
    if is_probe_of(f, gate) then redis.call('ZADD', key.index, gate_score(tonumber(arg.now)), gate) end
  end
end

-- Ends all probes of a job that has not completed, so that other jobs are the next ones.
local function settle_probe(f, is_accepted)
  settle_pause(f, is_accepted)
  settle_circuits(f)
end

-- Ends the probes of a job that a late success of an earlier attempt has ended, once its current attempt is answered.
local function settle_late(f, is_accepted)
  if f.state == 'done' and f.attempt == arg.attempt then settle_probe(f, is_accepted) end -- mutant: late answer
end

-- The models that a job was refused of since the pause began.
local function refused_models(known)
  local models = {}
  for name in pairs(known) do
    local model = string.match(name, '^model:(.*)$')
    if model and refusal_of(known, name) == known.since then add(models, model) end
  end
  table.sort(models)
  return models
end

-- The pauses among all gates, each with what is known of it.
local function pauses_in(gates)
  local rows = {}
  for i = 1, #gates, 2 do
    local provider = is_pause(gates[i]) and string.sub(gates[i], 3)
    local known = provider and read_refusals(tonumber(provider)) or {}
    if known.code then
      local models = refused_models(known)
      add(rows, { provider, text(known.since), known.at, known.code, known.status, known.refusals, models })
    end
  end
  return rows
end
