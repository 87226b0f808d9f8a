-- Classification of the change that an external client made to a job, read off the job and its agent as they are now.

-- Tells whether a job waits for a worker. Who is looked for in the long list is in none of the others.
local function waits(job)
  if call('ZSCORE', K .. 'prioritized', job) or call('ZSCORE', K .. 'delayed', job) then
    return true
  end
  return not call('ZSCORE', K .. 'waiting-children', job) and not call('LPOS', K .. 'active', job)
end

-- Returns the agent's head when it waits for a slot.
local function waiting_head(id)
  local h = read_head(id)
  if h and h.node == 'null' and not ENDED[h.status] then
    return h
  end
end

-- Tells whether an external client wrote over the data of a job after its agent was admitted. `is_archived` says that no data
-- stayed in the job: then all that there are were written since.
local function data_changed(job, is_archived)
  local j = call('HMGET', K .. job, 'dataMark', 'data')
  if not j[2] then
    return false
  end
  if not j[1] then
    return is_archived
  end
  return data_mark(j[2]) ~= j[1]
end

-- Returns what is to be taken up about a job, as a list that begins with a word; nil when nothing is.
local function classify_external(job)
  local j = call('HMGET', K .. job, 'name', 'agentId', 'finishedOn', 'defa')
  if not j[1] then
    local id = call('HGET', O .. 'tied', job) or job
    local h = waiting_head(id)
    return h and job_of(h) == job and { 'removed', id } or nil
  end
  -- A job of ours whose record was archived does not name its agent any more: it has the agent's id.
  local h, why = read_head(j[2] or job)
  if why == 'damaged' then
    return nil
  end
  if not h or ENDED[h.status] then
    if j[3] or not waits(job) then
      return nil
    end
    -- Others decided that it must fail without being run.
    if j[4] then
      return { 'doomed', job, j[4] }
    end
    return h and { 'retried', h.id, job, data_changed(job, not j[2]) } or { 'submitted', job }
  end
  if h.node ~= 'null' then
    return data_changed(job) and { 'changed', h.id, job } or nil
  end
  if j[3] then
    local r = call('HMGET', K .. job, 'returnvalue', 'failedReason')
    if call('ZSCORE', K .. 'failed', job) then
      return { 'failed', h.id, r[2] or '' }
    end
    return { 'completed', h.id, r[1] or 'null' }
  end
  if j[4] and waits(job) then
    return { 'failed', h.id, j[4] }
  end
  -- What another worker holds is that worker's to change.
  if data_changed(job) and waits(job) then
    return { 'changed', h.id, job }
  end
end

-- Fails a job that no agent works on.
local function refuse(job, why, stack, now)
  dequeue(job)
  finish(job, 'failed', now, why, stack, 'waiting')
  call('HDEL', K .. job, 'defa')
end
