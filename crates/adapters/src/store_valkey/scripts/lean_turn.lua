-- Turns of workers: each ends a job that it held, when it held one, and takes the next one, when it wants one. Answers one
-- pair each: what became of the end (0, or BullMQ's negative code), and the job, or when to ask again.
local count = tonumber(take())
local unstalled, ended = {}, {}, false

-- Ends a job; refuses when the lock is not the caller's.
local function end_job()
  local job, token, outcome, result, stack, keeping = take(), take(), take(), take(), take(), take()
  local key = K .. job
  local holder = call('GET', key .. ':lock')
  if holder ~= token then
    return call('EXISTS', key) == 0 and -1 or (holder and -6 or -2)
  end
  local failed = outcome == 'failed'
  if not failed and (call('EXISTS', key .. ':dependencies') == 1 or call('EXISTS', key .. ':unsuccessful') == 1) then
    return call('EXISTS', key .. ':dependencies') == 1 and -4 or -9
  end
  if call('LREM', K .. 'active', -1, job) == 0 then
    return -3
  end
  call('DEL', key .. ':lock')
  unstalled[#unstalled + 1] = job
  ended = true
  local made = call('HINCRBY', key, 'atm', 1)
  local j = call('HMGET', key, 'parentKey', 'deid')
  if j[1] or j[2] then
    after_end(job, outcome, now, result)
  end
  local field = failed and 'failedReason' or 'returnvalue'
  if keeping == 'none' then
    forget(job)
  else
    if failed then
      call('HSET', key, 'finishedOn', now, field, result, 'stacktrace', stack)
    else
      call('HSET', key, 'finishedOn', now, field, result)
    end
    call('ZADD', K .. outcome, now, job)
    if keeping ~= 'all' then
      keep(job, outcome, now)
    end
  end
  call('XADD', EVENTS, '*', 'event', outcome, 'jobId', job, field, result, 'prev', 'active')
  if failed then
    call('XADD', EVENTS, '*', 'event', 'retries-exhausted', 'jobId', job, 'attemptsMade', made)
  end
  return 0
end

local function promote()
  local due = call('ZRANGEBYSCORE', K .. 'delayed', 0, whole((now + 1) * 4096 - 1), 'LIMIT', 0, 1000)
  for _, job in ipairs(due) do
    call('ZREM', K .. 'delayed', job)
    local priority = tonumber(call('HGET', K .. job, 'priority') or 0) or 0
    if priority > 0 then
      call('ZADD', K .. 'prioritized', whole(priority * CLASS + call('INCR', K .. 'pc') % CLASS), job)
    else
      call('LPUSH', K .. 'wait', job)
    end
    call('HSET', K .. job, 'delay', 0)
    call('XADD', EVENTS, '*', 'event', 'waiting', 'jobId', job, 'prev', 'delayed')
  end
end

-- Tells whether the queue's rate allows one more start.
local function within_rate()
  return not meta[4] or tonumber(call('GET', K .. 'limiter') or 0) < tonumber(meta[4])
end

local function next_job()
  if paused or is_full() or not within_rate() then
    return nil
  end
  local job = call('RPOPLPUSH', K .. 'wait', K .. 'active')
  if not job then
    job = call('ZPOPMIN', K .. 'prioritized')[1]
    if not job then
      return nil
    end
    call('LPUSH', K .. 'active', job)
  end
  if meta[4] and call('INCR', K .. 'limiter') == 1 then
    call('PEXPIRE', K .. 'limiter', meta[5] or 1000)
  end
  return job
end

local function start_job(token, term)
  local job = next_job()
  if not job then
    return false
  end
  local key = K .. job
  call('SET', key .. ':lock', token, 'PX', term)
  call('XADD', EVENTS, '*', 'event', 'active', 'jobId', job, 'prev', 'waiting')
  call('HINCRBY', key, 'ats', 1)
  call('HSET', key, 'processedOn', now)
  local j = call('HMGET', key, 'name', 'data', 'opts', 'atm', 'defa')
  return { job, j[1], j[2], j[3], j[4] or '0', j[5] or '' }
end

promote()
local answers, taken = {}, false
for n = 1, count do
  local code, job = 0, false
  if take() == '1' then
    code = end_job()
  end
  local token, term = take(), take()
  if token ~= '' then
    job = start_job(token, term)
    taken = taken or job ~= false
  end
  answers[n] = { code, job }
end
if #unstalled > 0 then
  call('SREM', K .. 'stalled', unpack(unstalled))
end
local waits = call('LLEN', K .. 'wait') > 0 or call('ZCARD', K .. 'prioritized') > 0
if taken then
  call('XTRIM', EVENTS, 'MAXLEN', '~', most_events)
end
if taken and waits then
  wake()
elseif ended and not waits and call('LLEN', K .. 'active') == 0 then
  call('XADD', EVENTS, '*', 'event', 'drained')
end
local first = call('ZRANGE', K .. 'delayed', 0, 0, 'WITHSCORES')
answers[count + 1] = first[2] and whole(math.floor(first[2] / 4096)) or '0'
return answers
