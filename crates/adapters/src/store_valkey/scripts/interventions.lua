-- Lists the changes that external clients made to the queue. The queue's own events say where to look; a look through the
-- lists, a part at a time, finds what they do not say. What was found stands in a list of our own until it is taken up.
local most, EVENTS, PART, TURN, STALLED, JOBS = tonumber(take()), take(), tonumber(take()), take(), take(), tonumber(take())
local now = whole(now_ms())

local AGENTS = O .. 'agents:'

local function suspect(job)
  call('ZADD', O .. 'others', 'NX', now, job)
end

local ENDS = { completed = true, failed = true, removed = true }
local WAITS = { added = true, waiting = true, delayed = true }

-- Tells whether an event may be somebody else's doing.
local function is_strange(e)
  if WAITS[e.event] then
    if e.prev == 'failed' or e.prev == 'completed' or e.prev == 'active' then
      return true
    end
    return call('HEXISTS', K .. e.jobId, 'agentId') == 0
  end
  -- Ends are mostly our own. Only what the job itself shows tells them apart, so the job is looked at.
  return ENDS[e.event] and classify_external(e.jobId) ~= nil
end

-- Tells whether an event stands behind another one in the stream.
local function is_later(one, other)
  local ms, n = match(one, '^(%d+)-(%d+)$')
  local other_ms, other_n = match(other, '^(%d+)-(%d+)$')
  ms, n, other_ms, other_n = tonumber(ms), tonumber(n), tonumber(other_ms), tonumber(other_n)
  return ms > other_ms or (ms == other_ms and n > other_n)
end

-- Forgets why dispatch is paused once another client has resumed it: the next pause is one of its own, without that reason.
local function forget_reason(resumed)
  local paused_at = call('HGET', O .. 'others:seen', 'pause')
  if paused_at and is_later(resumed, paused_at) then
    call('DEL', O .. 'pause')
  end
end

local function follow_events()
  -- The first look of a store begins at the oldest event that is left: jobs may have been added before any node came.
  local seen = call('HGET', O .. 'others:seen', 'event')
  local list = call('XRANGE', K .. 'events', seen and '(' .. seen or '-', '+', 'COUNT', EVENTS)
  for _, entry in ipairs(list) do
    local e, fields = {}, entry[2]
    for n = 1, #fields, 2 do
      e[fields[n]] = fields[n + 1]
    end
    if e.jobId and is_strange(e) then
      suspect(e.jobId)
    elseif e.event == 'resumed' then
      forget_reason(entry[1])
    end
  end
  if #list > 0 then
    call('HSET', O .. 'others:seen', 'event', list[#list][1])
  end
end

-- Takes the next part of a list, and begins again at its end. `read` gets the first and the last place.
local function part(name, length, size, read)
  local from = tonumber(call('HGET', O .. 'others:seen', name) or 0)
  -- The list may have shrunk since: what is left of it is read again from its beginning.
  if from >= length then
    from = 0
  end
  call('HSET', O .. 'others:seen', name, from + size)
  return read(from, from + size - 1)
end

-- No event says that a job's data were changed. Marking data costs as much as reading them, so that one look does it for a
-- bounded number of jobs.
local marks = 2 * PART
local function is_changed(job)
  marks = marks - 1
  return marks >= 0 and data_changed(job)
end

-- Tells whether a waiting job is nobody's, or that of an agent which has ended, or has other data than its agent.
local function is_odd(job)
  local j = call('HMGET', K .. job, 'agentId', 'defa')
  if not j[1] or j[2] then
    return true
  end
  local h = read_head(j[1])
  return not h or ENDED[h.status] or is_changed(job)
end

local function look_through_active()
  local read = function(from, to) return call('LRANGE', K .. 'active', from, to) end
  for _, job in ipairs(part('active', call('LLEN', K .. 'active'), PART, read)) do
    if is_changed(job) then
      suspect(job)
    end
  end
end

local function look_through_jobs(size)
  for _, name in ipairs({ 'prioritized', 'delayed', 'wait' }) do
    local key, listed = K .. name, name == 'wait'
    local length = call(listed and 'LLEN' or 'ZCARD', key)
    local jobs = part(name, length, size, function(from, to)
      return call(listed and 'LRANGE' or 'ZRANGE', key, from, to)
    end)
    for _, job in ipairs(jobs) do
      if is_odd(job) then
        suspect(job)
      end
    end
  end
end

local function look_through_agents(size)
  for _, status in ipairs({ 'spawning', 'running' }) do
    local key = AGENTS .. status
    for _, id in ipairs(part(status, call('ZCARD', key), size, function(from, to) return call('ZRANGE', key, from, to) end)) do
      local h = waiting_head(id)
      if h then
        local job = job_of(h)
        local j = call('HMGET', K .. job, 'name', 'finishedOn')
        -- The job is gone, and with it the field that named the agent: the tie is the only way back from the job's id.
        if not j[1] and job ~= id then
          call('HSET', O .. 'tied', job, id)
        end
        if not j[1] or j[2] then
          suspect(job)
        end
      end
    end
  end
end

-- Puts back what other workers hold without a lock since the last look. What agents of ours hold is not theirs.
local function put_back_stalled()
  if not call('SET', K .. 'stalled-check', now, 'NX', 'PX', STALLED) then
    return
  end
  for _, job in ipairs(call('SMEMBERS', K .. 'stalled')) do
    local id = call('HGET', K .. job, 'agentId')
    local h = id and read_head(id)
    local ours = h and h.node ~= 'null'
    if not ours and call('EXISTS', K .. job .. ':lock') == 0 and call('LREM', K .. 'active', 1, job) > 0 then
      -- BullMQ lets a job stall once. The second time its worker is taken for the cause, and the job fails.
      if call('HINCRBY', K .. job, 'stc', 1) > 1 then
        call('HSET', K .. job, 'defa', 'job stalled more than allowable limit')
      end
      call('RPUSH', K .. 'wait', job)
      event('waiting', 'jobId', job, 'prev', 'active')
      event('stalled', 'jobId', job)
      wake()
      suspect(job)
    end
  end
  -- What is active now is put back at the next look, unless a lock shows by then that its worker lives.
  call('DEL', K .. 'stalled')
  local active = call('LRANGE', K .. 'active', 0, JOBS - 1)
  if #active > 0 then
    call('SADD', K .. 'stalled', unpack(active))
  end
end

follow_events()
if call('SET', O .. 'others:turn', '1', 'NX', 'PX', TURN) then
  -- An operator may have emptied the queue, which raises no event: then there are fewer jobs than agents that wait for a slot.
  -- One node in a turn looks, whichever comes first: the look costs the same for one node and for a hundred.
  local jobs = call('LLEN', K .. 'wait') + call('ZCARD', K .. 'prioritized') + call('ZCARD', K .. 'delayed')
  local agents = call('ZCARD', AGENTS .. 'spawning') + call('ZCARD', AGENTS .. 'running') - call('ZCARD', O .. 'leased')
  -- More jobs than agents: another producer adds faster than the queue's events are kept, which then tell of some only.
  look_through_active()
  look_through_jobs(jobs > agents and PART * 10 or PART)
  look_through_agents(agents > jobs and PART * 10 or PART)
  put_back_stalled()
end

-- Adds what a node reads of a job to admit it.
local function add_submission(found, job)
  local j = call('HMGET', K .. job, 'name', 'data', 'opts', 'timestamp', 'delay', 'rjk', 'priority')
  local due = call('ZSCORE', K .. 'delayed', job)
  for _, value in ipairs({ job, j[1], j[2] or '', j[3] or '{}', j[4] or '0', due and whole(math.floor(due / 4096)) or '0',
    j[6] or '', j[7] or '0' }) do
    found[#found + 1] = value
  end
  return found
end

-- What ends agents is told before new work: of a full answer the rest comes with the next look, and an agent that was removed
-- must not start meanwhile.
local out, new = {}, {}
for _, job in ipairs(call('ZRANGE', O .. 'others', 0, JOBS - 1)) do
  local found = classify_external(job)
  if not found then
    call('ZREM', O .. 'others', job)
  elseif found[1] == 'doomed' then
    refuse(job, found[3], '[]', now)
    call('ZREM', O .. 'others', job)
  elseif found[1] == 'submitted' or found[1] == 'retried' then
    new[#new + 1] = found
  elseif #out < most then
    out[#out + 1] = found
  end
end
for _, found in ipairs(new) do
  if #out >= most then
    break
  end
  if found[1] == 'submitted' then
    found = add_submission({ 'submitted' }, found[2])
  elseif found[4] then
    found = add_submission({ 'retried', found[2], 'changed' }, found[3])
  else
    found = { 'retried', found[2], 'same', found[3] }
  end
  out[#out + 1] = found
end
return out
