-- Flows: what the end of a job means to the job that waits for it, which may be in another queue of the same server.

local function wake_queue(queue)
  local m = call('HMGET', queue .. ':meta', 'paused', 'concurrency')
  local most = tonumber(m[2] or 0) or 0
  if not m[1] and not (most > 0 and call('LLEN', queue .. ':active') >= most) then
    call('ZADD', queue .. ':marker', 0, '0')
  end
end

-- A parent waits for its children no more: it waits for a worker, as its own priority and delay say.
local function free_parent(queue, id, key, now)
  local p = call('HMGET', key, 'priority', 'delay')
  local priority, delay = tonumber(p[1] or 0) or 0, tonumber(p[2] or 0) or 0
  if delay > 0 then
    call('ZADD', queue .. ':delayed', whole((now + delay) * 4096), id)
    call('XADD', queue .. ':events', '*', 'event', 'delayed', 'jobId', id, 'delay', whole(now + delay))
    local first = call('ZRANGE', queue .. ':delayed', 0, 0, 'WITHSCORES')
    call('ZADD', queue .. ':marker', whole(math.floor(first[2] / 4096)), '1')
    return
  end
  if priority > 0 then
    local order = call('INCR', queue .. ':pc') % 4294967296
    call('ZADD', queue .. ':prioritized', whole(priority * 4294967296 + order), id)
  else
    call('RPUSH', queue .. ':wait', id)
  end
  call('XADD', queue .. ':events', '*', 'event', 'waiting', 'jobId', id, 'prev', 'waiting-children')
  wake_queue(queue)
end

local function free_waiting_parent(queue, id, key, now)
  if call('ZREM', queue .. ':waiting-children', id) == 1 then
    free_parent(queue, id, key, now)
  end
end

-- A child failed, and its parent fails with it: whoever takes the parent next must fail it without running it.
local function fail_parent(queue, id, key, child, now)
  if call('EXISTS', key) == 0 or call('ZSCORE', queue .. ':failed', id) then
    return
  end
  call('HSET', key, 'defa', 'child ' .. child .. ' failed')
  local waited = call('ZREM', queue .. ':waiting-children', id)
  if waited == 0 then
    waited = call('ZREM', queue .. ':delayed', id)
  end
  if waited == 1 then
    call('HSET', key, 'delay', 0)
    free_parent(queue, id, key, now)
  end
end

-- Tells a job's parent, when it has one, how the job ended. `result` is its return value as JSON, or the reason.
local function tell_parent(child, parent_key, parent, outcome, result, now)
  local p = parent and cjson.decode(parent) or {}
  local id, queue = p.id, p.queueKey
  if not id then
    queue, id = match(parent_key, '^(.+):([^:]+)$')
    if not id then
      return
    end
  end
  local key = queue .. ':' .. id
  -- In a cluster the other queue may be out of reach from here.
  local there = redis.pcall('SREM', key .. ':dependencies', child)
  if there ~= 1 and outcome == 'completed' or type(there) == 'table' then
    return
  end
  if outcome == 'completed' then
    call('HSET', key .. ':processed', child, result)
  elseif p.fpof then
    if there == 1 then
      call('ZADD', key .. ':unsuccessful', now, child)
      fail_parent(queue, id, key, child, now)
    end
    return
  elseif p.cpof and there == 1 then
    call('HSET', key .. ':failed', child, result)
    free_waiting_parent(queue, id, key, now)
    return
  elseif p.idof and there == 1 then
    call('HSET', key .. ':failed', child, result)
  elseif not p.rdof then
    -- The parent goes on waiting: the child may be tried again.
    if there == 1 then
      call('SADD', key .. ':dependencies', child)
    end
    return
  end
  if call('SCARD', key .. ':dependencies') == 0 then
    free_waiting_parent(queue, id, key, now)
  end
end

-- What else the end of a job means: to its parent, and to jobs that were left out as its duplicates.
local function after_end(job, outcome, ended, result)
  local j = call('HMGET', K .. job, 'parentKey', 'parent', 'deid')
  if j[3] then
    local key = K .. 'de:' .. j[3]
    local left = call('PTTL', key)
    if left == 0 or (left == -1 and call('GET', key) == job) then
      call('DEL', key)
    end
  end
  if j[1] then
    tell_parent(K .. job, j[1], j[2], outcome, result, tonumber(ended))
  end
end
