-- Writing a new state over a record, with everything that follows from it.
local TERM, LOG_LINES = take(), tonumber(take())

local function take_change()
  local c = {}
  c.id, c.task, c.type, c.digest, c.due, c.status, c.phase, c.dead = take(), take(), take(), take(), take(), take(), take(), take()
  c.outcome, c.ended, c.result, c.stack, c.queued, c.tried = take(), take(), take(), take(), take(), take()
  c.progress, c.state, c.tail = take(), take(), take()
  c.facts, c.count = take_facts()
  return c
end

local function log_lines(job, lines)
  if #lines > 0 then
    local key = K .. job .. ':logs'
    if call('RPUSH', key, unpack(lines)) > LOG_LINES then
      call('LTRIM', key, -LOG_LINES, -1)
    end
  end
end

-- Brings the job to where its agent is now.
local function move_job(h, c, lines, was)
  local job = job_of(h)
  local j = call('HMGET', K .. job, 'agentId', 'finishedOn', 'priority', 'place', 'atm', 'ats')
  if j[1] ~= h.id then
    return
  end
  log_lines(job, lines)
  if was.held and h.node ~= 'null' then
    call('SET', K .. job .. ':lock', string.sub(h.node, 2, -2) .. ':' .. h.epoch, 'NX', 'PX', TERM)
    if was.phase ~= h.phase then
      call('HSET', K .. job, 'progress', c.progress)
      event('progress', 'jobId', job, 'data', c.progress)
    end
    return
  end
  if was.held then
    call('DEL', K .. job .. ':lock')
    call('LREM', K .. 'active', 1, job)
  end
  -- Another worker has written this job's end.
  if j[2] then
    return
  end
  local ends = c.outcome ~= ''
  if not was.held then
    if not ends and was.due == h.due then
      return
    end
    dequeue(job)
  end
  local prev = was.held and 'active' or 'waiting'
  if ends then
    finish(job, c.outcome, c.ended, c.result, c.stack, prev, j[5] or 0)
    drained()
    return
  end
  local unwritten = was.held and was.last == ''
  if unwritten and (was.phase == 'backoff' or was.phase == 'queued' and c.tried ~= '1') then
    -- It was given to a node that wrote nothing of it: the grant was lost, or the node left it to others. That is no start.
    if tonumber(j[6] or 0) > 0 then
      call('HINCRBY', K .. job, 'ats', -1)
    end
  elseif c.tried == '1' then
    call('HINCRBY', K .. job, 'atm', 1)
  end
  local due = tonumber(c.due)
  if due > 0 then
    call('HSET', K .. job, 'delay', whole(math.max(0, due - now_ms())))
    delay_until(job, due)
    wake_when_due()
  else
    local priority = tonumber(j[3] or 0) or 0
    enqueue(job, priority, j[4], prev)
  end
end

-- Writes the record; returns its new version.
local function write_record(h, c)
  local was = { held = h.node ~= 'null', ended = ENDED[h.status], phase = h.phase, status = h.status, due = h.due,
    last = h.last }
  local logged, lines = log_facts(c.facts, c.count, h.id, tonumber(h.logged))
  h.logged = whole(logged)
  if c.outcome ~= '' or c.queued == '1' then
    h.node = 'null'
  end
  h.version, h.due, h.status, h.phase, h.last = whole(h.version + 1), c.due, c.status, c.phase, c.digest
  call('SET', O .. 'agent:' .. h.id, compose(h) .. c.tail)
  if was.status ~= h.status then
    call('ZREM', O .. 'agents:' .. was.status, h.id)
    call('ZADD', O .. 'agents:' .. h.status, h.seq, h.id)
    task_status(c.task, h.id, h.status)
  end
  if c.outcome ~= '' and not was.ended then
    call('HDEL', O .. 'active', c.type .. ':' .. c.task)
    call('ZADD', O .. 'ended', c.ended, ended_member(h))
    if c.dead == '1' then
      call('ZADD', O .. 'dead', h.seq, h.id)
    end
  end
  -- The record is whole again, and moves to its archive once more.
  if h.is_short then
    call('ZADD', O .. 'ended', c.ended, ended_member(h))
  end
  if was.held and h.node == 'null' then
    call('ZREM', O .. 'leased', h.id)
  end
  if not was.ended then
    move_job(h, c, lines, was)
  end
  return tonumber(h.version)
end
