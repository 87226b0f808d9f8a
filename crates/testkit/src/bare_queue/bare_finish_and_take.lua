-- Turns of workers: each ends a job that it held, when it held one, and takes the next one, when it wants one. Answers one
-- pair each: what became of the end (0, or BullMQ's negative code), and the job, or when to ask again.
local now, count = take(), tonumber(take())
local answers, enders, askers = {}, {}, {}
for n = 1, count do
  answers[n] = { 0, false }
  if take() == '1' then
    enders[#enders + 1] = { answer = answers[n], job = take(), token = take(), outcome = take(), result = take(),
      stack = take(), keeping = take() }
  end
  local token, term = take(), take()
  if token ~= '' then
    askers[#askers + 1] = { answer = answers[n], token = token, term = term }
  end
end

local unlocked, unstalled, ended, kept_as_options_say = {}, {}, { completed = {}, failed = {} }, {}

-- Ends a job; refuses when the lock is not the caller's. `unready` tells that some job here has children that are not done.
local function end_job(e, holder, unready)
  local job, outcome, result, key = e.job, e.outcome, e.result, K .. e.job
  if holder ~= e.token then
    return call('EXISTS', key) == 0 and -1 or (holder and -6 or -2)
  end
  local failed = outcome == 'failed'
  if unready and not failed then
    if call('EXISTS', key .. ':dependencies') == 1 then
      return -4
    elseif call('EXISTS', key .. ':unsuccessful') == 1 then
      return -9
    end
  end
  if call('LREM', K .. 'active', -1, job) == 0 then
    return -3
  end
  unlocked[#unlocked + 1] = key .. ':lock'
  unstalled[#unstalled + 1] = job
  local j = call('HMGET', key, 'atm', 'parentKey', 'deid', 'opts')
  local made = whole((tonumber(j[1] or 0) or 0) + 1)
  if j[2] or j[3] then
    after_end(job, outcome, now, result)
  end
  local field = failed and 'failedReason' or 'returnvalue'
  if e.keeping == 'none' then
    forget(job)
  else
    if failed then
      call('HSET', key, 'finishedOn', now, 'atm', made, field, result, 'stacktrace', e.stack)
    else
      call('HSET', key, 'finishedOn', now, 'atm', made, field, result)
    end
    local list = ended[outcome]
    list[#list + 1] = now
    list[#list + 1] = job
    if e.keeping == 'options' then
      kept_as_options_say[#kept_as_options_say + 1] = { job, outcome, now, j[4] }
    end
  end
  event(outcome, 'jobId', job, field, result, 'prev', 'active')
  if failed then
    event('retries-exhausted', 'jobId', job, 'attemptsMade', made)
  end
  return 0
end

-- Ends the jobs that ended, and does together what is the same for all of them.
local function end_jobs()
  local locks, children = {}, {}
  for n, e in ipairs(enders) do
    local key = K .. e.job
    locks[n], children[2 * n - 1], children[2 * n] = key .. ':lock', key .. ':dependencies', key .. ':unsuccessful'
  end
  local holders, unready = call('MGET', unpack(locks)), call('EXISTS', unpack(children)) > 0
  for n, e in ipairs(enders) do
    e.answer[1] = end_job(e, holders[n], unready)
  end
  if #unlocked == 0 then
    return
  end
  call('DEL', unpack(unlocked))
  call('SREM', K .. 'stalled', unpack(unstalled))
  for outcome, list in pairs(ended) do
    if #list > 0 then
      call('ZADD', K .. outcome, unpack(list))
    end
  end
  for _, one in ipairs(kept_as_options_say) do
    retain_job(unpack(one))
  end
end

-- Returns the time for which the first delayed job waits, times 4096, and some.
local function first_due()
  return call('ZRANGE', K .. 'delayed', 0, 0, 'WITHSCORES')[2]
end

-- Returns how many of those who ask may get a job.
local function room()
  local most = paused and 0 or #askers
  if most_active > 0 then
    most = math.min(most, most_active - call('LLEN', K .. 'active'))
  end
  if meta[4] then
    most = math.min(most, meta[4] - (call('GET', K .. 'limiter') or 0))
  end
  return most
end

-- Moves the next jobs to the active ones: those without priority first.
local function next_jobs(most)
  if most <= 0 then
    return {}
  end
  local jobs = call('RPOP', K .. 'wait', most) or {}
  if #jobs < most then
    local ranked = call('ZPOPMIN', K .. 'prioritized', most - #jobs)
    for n = 1, #ranked, 2 do
      jobs[#jobs + 1] = ranked[n]
    end
  end
  if #jobs > 0 then
    call('LPUSH', K .. 'active', unpack(jobs))
    if meta[4] and call('INCRBY', K .. 'limiter', #jobs) == #jobs then
      call('PEXPIRE', K .. 'limiter', meta[5] or 1000)
    end
  end
  return jobs
end

local function start_job(job, asker)
  local key = K .. job
  call('SET', key .. ':lock', asker.token, 'PX', asker.term)
  event('active', 'jobId', job, 'prev', 'waiting')
  local j = call('HMGET', key, 'name', 'data', 'opts', 'atm', 'defa', 'ats')
  call('HSET', key, 'processedOn', now, 'ats', whole((tonumber(j[6] or 0) or 0) + 1))
  return { job, j[1], j[2], j[3], j[4] or '0', j[5] or '' }
end

if #enders > 0 then
  end_jobs()
end
local first = first_due()
if first and promote(now) then
  first = first_due()
end
local most = room()
local jobs = next_jobs(most)
for n, job in ipairs(jobs) do
  askers[n].answer[2] = start_job(job, askers[n])
end
local waits = #jobs >= most and (call('LLEN', K .. 'wait') > 0 or call('ZCARD', K .. 'prioritized') > 0)
if #jobs > 0 and waits then
  wake()
elseif #unlocked > 0 and not waits and call('LLEN', K .. 'active') == 0 then
  event('drained')
end
answers[count + 1] = first and whole(math.floor(first / 4096)) or '0'
return answers
