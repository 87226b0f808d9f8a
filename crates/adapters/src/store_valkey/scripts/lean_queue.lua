-- Every script of the bare queue: KEYS[1] is what the names of the queue's keys begin with. Arguments are taken one after
-- the other.
local K = KEYS[1]
local call, match, format = redis.call, string.match, string.format
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function whole(n)
  return format('%.0f', n)
end
local CLASS = 4294967296
local now = take()
local meta = call('HMGET', K .. 'meta', 'paused', 'concurrency', 'opts.maxLenEvents', 'max', 'duration')
local paused, most_active, most_events = meta[1], tonumber(meta[2] or 0) or 0, meta[3]
if not most_events then
  most_events = '10000'
  call('HSET', K .. 'meta', 'opts.maxLenEvents', most_events)
end
local EVENTS = K .. 'events'

-- Tells of something; one event trims the stream for all of the script.
local is_trimmed = false
local function tell(...)
  if is_trimmed then
    call('XADD', EVENTS, '*', 'event', ...)
  else
    is_trimmed = true
    call('XADD', EVENTS, 'MAXLEN', '~', most_events, '*', 'event', ...)
  end
end
local function is_full()
  return most_active > 0 and call('LLEN', K .. 'active') >= most_active
end
local function wake()
  if not paused and not is_full() then
    call('ZADD', K .. 'marker', 0, '0')
  end
end
local function delay_until(job, due)
  local base = due * 4096
  local same = call('ZREVRANGEBYSCORE', K .. 'delayed', whole(base + 4095), whole(base), 'WITHSCORES', 'LIMIT', 0, 1)
  if same[2] then
    base = math.min(tonumber(same[2]) + 1, base + 4095)
  end
  call('ZADD', K .. 'delayed', whole(base), job)
  tell('delayed', 'jobId', job, 'delay', whole(due))
end
local function wake_when_due()
  local first = call('ZRANGE', K .. 'delayed', 0, 0, 'WITHSCORES')
  if first[2] then
    call('ZADD', K .. 'marker', whole(math.floor(first[2] / 4096)), '1')
  end
end
