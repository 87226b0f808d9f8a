-- The queue in BullMQ's layout: its settings, its events, what wakes its workers.
local meta = call('HMGET', K .. 'meta', 'paused', 'concurrency', 'opts.maxLenEvents', 'max', 'duration')
local paused, most_active, most_events = meta[1], tonumber(meta[2] or 0) or 0, meta[3] or '10000'
local is_trimmed = false

-- Tells of something; one event trims the stream for all of the script. Returns the event's place in the stream.
local function event(...)
  if is_trimmed then
    return call('XADD', K .. 'events', '*', 'event', ...)
  end
  is_trimmed = true
  return call('XADD', K .. 'events', 'MAXLEN', '~', most_events, '*', 'event', ...)
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

-- Puts a job at the end of its class.
local function new_place(priority)
  return whole(priority * CLASS + call('INCR', K .. 'pc') % CLASS)
end

-- The place a job had, unless somebody gave it another priority since.
local function place_in(priority, place)
  if place and math.floor(place / CLASS) == priority then
    return place
  end
  return new_place(priority)
end

-- Makes ready what is due; tells whether anything was. The caller wakes.
local function promote(now)
  local most = whole((now + 1) * 4096 - 1)
  local due = call('ZRANGEBYSCORE', K .. 'delayed', 0, most, 'LIMIT', 0, 1000)
  for _, job in ipairs(due) do
    call('ZREM', K .. 'delayed', job)
    local j = call('HMGET', K .. job, 'priority', 'place')
    local priority = tonumber(j[1] or 0) or 0
    if priority > 0 then
      call('ZADD', K .. 'prioritized', place_in(priority, j[2]), job)
    else
      call('LPUSH', K .. 'wait', job)
    end
    call('HSET', K .. job, 'delay', 0)
    event('waiting', 'jobId', job, 'prev', 'delayed')
  end
  return #due > 0
end
