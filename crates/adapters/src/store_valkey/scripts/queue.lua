-- The queue in BullMQ's layout: its settings, its events, what wakes its workers.
local meta = call('HMGET', K .. 'meta', 'paused', 'concurrency', 'opts.maxLenEvents', 'max', 'duration')
local paused, most_active, most_events = meta[1], tonumber(meta[2] or 0) or 0, meta[3] or '10000'
local is_trimmed = false

-- Tells of something; one event trims the stream for all of the script.
local function event(...)
  if is_trimmed then
    call('XADD', K .. 'events', '*', 'event', ...)
  else
    is_trimmed = true
    call('XADD', K .. 'events', 'MAXLEN', '~', most_events, '*', 'event', ...)
  end
end

local function is_full()
  return most_active > 0 and call('LLEN', K .. 'active') >= most_active
end

-- Wakes a worker that waits for something to do.
local function wake()
  if not paused and not is_full() then
    call('ZADD', K .. 'marker', 0, '0')
  end
end

-- Wakes one when the first delayed job is due.
local function wake_when_due()
  local first = call('ZRANGE', K .. 'delayed', 0, 0, 'WITHSCORES')
  if first[2] then
    call('ZADD', K .. 'marker', whole(math.floor(first[2] / 4096)), '1')
  end
end

-- Lets a job wait until a time; the caller wakes.
local function delay_until(job, due)
  local base = due * 4096
  local same = call('ZREVRANGEBYSCORE', K .. 'delayed', whole(base + 4095), whole(base), 'WITHSCORES', 'LIMIT', 0, 1)
  if same[2] then
    base = math.min(tonumber(same[2]) + 1, base + 4095)
  end
  call('ZADD', K .. 'delayed', whole(base), job)
  event('delayed', 'jobId', job, 'delay', whole(due))
end
