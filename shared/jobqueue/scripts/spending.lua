-- What jobs cost, in whole micro-dollars, and the budgets. A verb that uses these functions names root and now.
--
-- A job with a price has it in `price`: `at_most=60000,run=10000,*predict_time=1400`. A run costs `run`, and so much
-- for each unit of a metric of its provider; it is reserved at its most. `failed_is_free=1`: not if it failed. With
-- budgets, `ledger` has the month of its submission and its user's tag, `202611:tag`. The hash of a month has
--   `all`, a user's tag   an account: what its jobs cost in the month, and on each day that still counts, by its number
--                         since 1970: `month|day:cost|day:cost`
--   `=id`                 a job's reservation, `day:cost:tag`; `settled` after it; it is in both accounts
-- One HSET writes accounts and reservations. So a script that stops has reserved or settled both or none, and a repeat
-- sees which.

-- What the month's hash says of both accounts of a ledger, and of the reservations of jobs.
local function read_spending(ledger, jobs)
  local function account(said)
    local found = { month = tonumber(string.match(said or '', '^%d+') or '0'), days = {} }
    for day, cost in string.gmatch(said or '', '|(%d+):(%d+)') do
      found.days[tonumber(day)] = tonumber(cost)
    end
    return found
  end
  local month, payer = string.match(ledger, '^(%d+):(.*)$')
  local names = { 'all', payer }
  for _, job in ipairs(jobs) do
    add(names, '=' .. job.id)
  end
  local set = key.root .. SPENDING .. month
  local known = read(set, unpack(names))
  local spending = { set = set, known = known, payer = payer, all = account(known.all), own = account(known[payer]) }
  spending.added = { month = 0, days = {} } -- by what is planned
  return spending
end

-- Moves a job's reservation to another cost: on its own day, or on the one that is given.
local function move_reservation(spending, job, given_day)
  local function add_cost(day, cost)
    for _, account in ipairs({ spending.all, spending.own, spending.added }) do
      account.month, account.days[day] = account.month + cost, (account.days[day] or 0) + cost
    end
  end
  local day, cost = string.match(spending.known['=' .. job.id] or '', '^(%d+):(%d+):')
  if day then add_cost(tonumber(day), -tonumber(cost)) end -- mutant: earlier reservation
  job.day = given_day or tonumber(day) or math.floor(tonumber(arg.now) / DAY)
  add_cost(job.day, job.bound)
end

-- Writes both accounts, without the days that are over, and the reservations of jobs; without a bound they are settled.
local function write_spending(spending, jobs)
  local today = math.floor(tonumber(arg.now) / DAY)
  local function text_of(account)
    local parts = { text(account.month) }
    for day = today - 1, today + 31 do
      if account.days[day] then add(parts, text(day) .. ':' .. text(account.days[day])) end
    end
    return table.concat(parts, '|')
  end
  local fields = { all = text_of(spending.all), [spending.payer] = text_of(spending.own) }
  for _, job in ipairs(jobs) do
    local entry = job.bound and text(job.day) .. ':' .. text(job.bound) .. ':' .. spending.payer
    fields['=' .. job.id] = entry or 'settled'
  end
  write_fields(spending.set, fields)
end

-- The refusal if an account grows above its budget on a day, or in its month; else nil.
local function refuse_budget(spending, day)
  -- Of a user: a day, a month; of all: a day, a month; below zero: none. It is empty where the budgets were taken away.
  local limits = numbers(arg.budgets)
  local accounts = { spending.own, spending.own, spending.all, spending.all }
  for i, account in ipairs(accounts) do
    local is_of_day = i % 2 == 1
    local function amount(of) return is_of_day and of.days[day] or of.month end
    local limit = limits[i] or -1 -- mutant: no budgets
    local grows = amount(spending.added) > 0 -- mutant: growth
    if grows and limit >= 0 and amount(account) > limit then -- mutant: budget
      return { 'budget_exceeded', i <= 2 and 'user' or 'all', is_of_day and 'day' or 'month' }
    end
  end
end

-- Plans the reservations of new jobs, each with its `bound`. Returns them, or nil with the refusal. A repeat of a call
-- that has stopped is not refused: its reservations may be there.
local function plan_reservations(jobs, is_repeat)
  if arg.ledger == '' or #jobs == 0 then return {} end
  local today, spending = math.floor(tonumber(arg.now) / DAY), read_spending(arg.ledger, jobs)
  -- A repeat does what the first call may have left undone.
  local is_again = spending.known['=' .. jobs[1].id] -- mutant: repeated day
  spending.jobs, spending.is_new_day = jobs, is_again or not spending.all.days[today]
  for _, job in ipairs(jobs) do
    move_reservation(spending, job, today)
  end
  local refused = not is_repeat and refuse_budget(spending, today)
  if refused then return nil, refused end
  return spending
end

-- Writes planned reservations.
local function reserve(spending)
  if not spending.jobs then return end
  write_spending(spending, spending.jobs) -- mutant: reservation
  if spending.is_new_day then redis.call('EXPIRE', spending.set, SPENDING_KEPT_FOR) end
end

-- What a run costs at most by its price.
local function bound_of(price) return tonumber(string.match(price, '^at_most=(%d+)')) end

-- What a run of a job has cost, by what its provider reports: `free`; `!reported=1`, with its metrics; '' if nothing
-- is known. Then it costs the most that it may have.
local function cost_of_run(f, bill)
  if bill == 'free' then return 0 end
  local function named_numbers(said)
    local named = {}
    for name, number in string.gmatch(said, '([^=,]+)=([^,]+)') do
      named[name] = tonumber(number)
    end
    return named
  end
  local price, metrics = named_numbers(f.price), named_numbers(bill)
  if bill == '' then return price.at_most end -- mutant: unknown cost
  if metrics['!failed'] and price.failed_is_free then return 0 end -- mutant: free failure
  local cost = price.run
  for name, micros in pairs(price) do
    local metric = string.match(name, '^%*(.+)$')
    if metric and not metrics[metric] then return price.at_most end -- mutant: missing metric
    if metric then cost = cost + micros * metrics[metric] end
  end
  return math.min(math.ceil(cost), 1000000000000)
end

-- What the runs of a job have cost, as its field `paid` holds it and in all, with that of an attempt. An earlier
-- attempt may have been counted at its most; what is known now counts.
local function add_paid(paid, attempt, cost)
  local parts, sum = {}, cost
  for other, amount in string.gmatch(paid or '', '(%d+):(%d+)') do
    if other ~= attempt then -- mutant: paid once
      add(parts, other .. ':' .. amount)
      sum = sum + tonumber(amount)
    end
  end
  if cost > 0 then add(parts, attempt .. ':' .. text(cost)) end
  return table.concat(parts, ','), sum
end

-- Notes in the fields of an end what the job has cost. `attempt`, if any, is the one that has ended, with its `bill`.
-- Of a later one that is still at the provider nothing is known yet.
local function charge(f, fields, attempt, bill)
  local paid, sum = add_paid(f.paid, attempt or '', attempt and cost_of_run(f, bill) or 0)
  if attempt and attempt ~= f.attempt and is_at_provider(f.state) then
    sum = select(2, add_paid(paid, f.attempt, cost_of_run(f, ''))) -- mutant: other run
  end
  fields.charged = text(sum)
end

-- Puts what an ended job has cost in the place of its reservation, once.
local function settle_reservation(id, f, charged)
  if not f.ledger then return end
  charged = charged or '0' -- of a job without a price
  local job = { id = id, bound = tonumber(charged) }
  local spending = read_spending(f.ledger, { job })
  local entry = spending.known['=' .. id]
  if not entry then return end -- mutant: settled once
  if entry ~= 'settled' and string.match(entry, '^%d+:(%d+)') ~= charged then
    move_reservation(spending, job)
    write_spending(spending, { { id = id } })
  end
  local gone = { '=' .. id }
  if spending.own.month == 0 then add(gone, spending.payer) end -- mutant: empty account
  redis.call('HDEL', spending.set, unpack(gone)) -- mutant: settlement
end

-- Lets a job whose attempt is over have another one: what the attempt has cost is noted in `fields`, and the
-- reservation grows by it. Returns false if a budget has no room for that.
local function pay_again(id, f, fields, bill)
  if not f.price then return true end
  local cost = cost_of_run(f, bill)
  if cost == 0 then return true end
  local paid, sum = add_paid(f.paid, f.attempt, cost)
  if f.ledger then
    local job = { id = id, bound = sum + cost_of_run(f, '') }
    local spending = read_spending(f.ledger, { job })
    move_reservation(spending, job)
    if refuse_budget(spending, job.day) then return false end -- mutant: budget of a retry
    write_spending(spending, { job })
  end
  fields.paid = paid
  return true
end
