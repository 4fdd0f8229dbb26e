-- The keys that only a script can know; keys.py says what each of them holds. A verb that uses these names `root`.

local function job_key(id) return key.root .. 'j:' .. id end
local function user_key(owner, user) return key.root .. 'u:' .. owner .. ':' .. user end
local function batch_key(batch) return key.root .. 'b:' .. batch end
local function batch_queue_key(batch) return key.root .. 'q:' .. batch end
local function dead_key() return key.root .. 'd' end

-- HASH: how runs of a model at a lane's provider went.
local function runs_key(lane, model) return key.root .. 'm:' .. text(provider_of(lane)) .. ':' .. model end

local function outbox_key() return key.root .. 'x' end
local function undelivered_key() return key.root .. 'y' end
local function stats_key() return key.root .. 'st' end
local function rows_key(lane) return key.root .. 'x:' .. lane end
local function host_key(lane) return key.root .. 'h:' .. lane end

-- The member of the history for a job of a user, given the user's key.
local function history_of(users_key, id) return '@' .. string.sub(users_key, #user_key('', '')) .. '|' .. id end
