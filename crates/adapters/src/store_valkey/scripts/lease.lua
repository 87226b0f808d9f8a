-- Gives the best ready entry to a node: of each class of priority the oldest, and of those the one with the lowest rank.
local node, now, ageing = take(), tonumber(take()), tonumber(take())
local MOST_SKIPPED, MOST_CLASSES = tonumber(take()), tonumber(take())
promote(now)
if paused or call('HEXISTS', O .. 'orders', 'latch') == 1 then
  return false
end
if most_active > 0 and call('LLEN', K .. 'active') >= most_active then
  return false
end
local kills = call('HLEN', O .. 'kills') > 0
local skipped = {}

-- Returns a job's time when it may be taken. Jobs that no agent is tied to are somebody else's to take in.
local function time_of(job)
  if skipped[job] then
    return nil
  end
  local j = call('HMGET', K .. job, 'agentId', 'timestamp')
  if not j[1] or (kills and call('HEXISTS', O .. 'kills', j[1]) == 1) then
    skipped[job] = true
    return nil
  end
  return tonumber(j[2] or 0) or 0, j[1]
end

-- Returns the first of a class that may be taken, page by page: a page is one entry, then a hundred.
local function first_of(page)
  local from, size = 0, 1
  while from < MOST_SKIPPED do
    local jobs = page(from, size)
    for _, job in ipairs(jobs) do
      local time, id = time_of(job)
      if time then
        return job, time, id
      end
    end
    if #jobs < size then
      return nil
    end
    from, size = from + size, 100
  end
end

local function without_priority(from, size)
  local jobs = call('LRANGE', K .. 'wait', -(from + size), -(from + 1))
  local turned = {}
  for n = #jobs, 1, -1 do
    turned[#turned + 1] = jobs[n]
  end
  return turned
end

local function choose()
  local best, best_rank, best_id = nil, math.huge, nil
  local job, time, id = first_of(without_priority)
  if job then
    best, best_rank, best_id = job, time, id
  end
  local from = '-inf'
  for _ = 1, MOST_CLASSES do
    local head = call('ZRANGEBYSCORE', K .. 'prioritized', from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not head[1] then
      break
    end
    local class = math.floor(head[2] / CLASS)
    local low, high = whole(class * CLASS), '(' .. whole((class + 1) * CLASS)
    job, time, id = first_of(function(skip, size)
      return call('ZRANGEBYSCORE', K .. 'prioritized', low, high, 'LIMIT', skip, size)
    end)
    if job then
      local rank = time + math.min(class, 10) * ageing
      if rank < best_rank then
        best, best_rank, best_id = job, rank, id
      end
    end
    from = whole((class + 1) * CLASS)
  end
  return best, best_id
end

local function take_job(job)
  local place = call('ZSCORE', K .. 'prioritized', job)
  if place then
    call('ZREM', K .. 'prioritized', job)
    call('HSET', K .. job, 'processedOn', whole(now), 'pb', node, 'place', whole(place))
  else
    call('LREM', K .. 'wait', -1, job)
    call('HSET', K .. job, 'processedOn', whole(now), 'pb', node)
  end
  call('LPUSH', K .. 'active', job)
end

while true do
  local job, id = choose()
  if not job then
    return false
  end
  local h, why = read_head(id)
  if h and h.node == 'null' and not ENDED[h.status] then
    take_job(job)
    local text = grant(h, job, node)
    event('active', 'jobId', job, 'prev', 'waiting')
    if call('ZCARD', K .. 'prioritized') > 0 or call('LLEN', K .. 'wait') > 0 then
      wake()
    end
    return { id, text }
  end
  if why == 'damaged' then
    return { id, false }
  end
  if why == 'none' then
    dequeue(job)
    finish(job, 'failed', whole(now), 'the record of its agent is gone', '[]', 'waiting')
  end
  skipped[job] = true
end
