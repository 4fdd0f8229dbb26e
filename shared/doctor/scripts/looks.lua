-- A look that a key of another type, or a field that is no number, does not end.

-- What a look says of a job, user, batch or lane; of one that it cannot look at, that its record is broken.
local function look_safely(look, name)
  local is_whole, faults, f = pcall(look, name) -- mutant: broken record
  if is_whole then return faults, f end
  return { 'broken_record:unreadable' }, {} -- engines give the error in different forms
end
