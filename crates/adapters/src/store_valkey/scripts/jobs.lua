-- Jobs of agents: where they wait, how they end.

-- Returns the mark of a job's data, by which a change of them by external clients is seen.
local function data_mark(data)
  return string.sub(redis.sha1hex(data), 1, 16)
end

-- A job is ready. One that has a place gets it back; one without priority goes where it is taken next.
local function enqueue(job, priority, place, prev)
  if priority > 0 then
    call('ZADD', K .. 'prioritized', place_in(priority, place), job)
  else
    call('RPUSH', K .. 'wait', job)
  end
  event('waiting', 'jobId', job, 'prev', prev)
  wake()
end

-- A job waits no more.
local function dequeue(job)
  if call('ZREM', K .. 'prioritized', job) == 0 and call('ZREM', K .. 'delayed', job) == 0 then
    call('LREM', K .. 'wait', -1, job)
  end
end

local function drained()
  if call('LLEN', K .. 'active') == 0 and call('ZCARD', K .. 'prioritized') == 0 and call('LLEN', K .. 'wait') == 0 then
    event('drained')
  end
end

-- Writes a job's end; `result` is its return value as JSON, or the reason. `made` is how often it was tried before, when
-- that is known.
local function finish(job, outcome, ended, result, stack, prev, made)
  made = (made or call('HGET', K .. job, 'atm') or 0) + 1
  call('ZADD', K .. outcome, ended, job)
  if outcome == 'completed' then
    call('HSET', K .. job, 'finishedOn', ended, 'atm', made, 'returnvalue', result)
    event('completed', 'jobId', job, 'returnvalue', result, 'prev', prev)
  else
    call('HSET', K .. job, 'finishedOn', ended, 'atm', made, 'failedReason', result, 'stacktrace', stack)
    event('failed', 'jobId', job, 'failedReason', result, 'prev', prev)
    event('retries-exhausted', 'jobId', job, 'attemptsMade', made)
  end
  after_end(job, outcome, ended, result)
  retain_job(job, outcome, ended)
end
