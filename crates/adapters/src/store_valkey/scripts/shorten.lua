-- Leaves short forms of records that lie in the archive of a node by now. Of a job stays what its producers read of an ended
-- one (its data, which are in the archive, only where they are another producer's own): written anew, a hash takes no more
-- room than its fields. One answer each.
local OURS = { agentId = true, data = true, opts = true, place = true, pb = true, ats = true, progress = true, stacktrace = true,
  dataMark = true, needs = true }
local THEIRS = { place = true, pb = true, ats = true, progress = true, needs = true }

local function shorten_job(job, id)
  local key, tied = K .. job, nil
  local fields, kept = call('HGETALL', key), {}
  local dropped = job == id and OURS or THEIRS
  for n = 1, #fields, 2 do
    local name, value = fields[n], fields[n + 1]
    if name == 'agentId' then
      tied = value
    end
    if not dropped[name] then
      kept[#kept + 1] = name
      kept[#kept + 1] = value
    end
  end
  -- Somebody may have put it back, and another agent has it.
  if tied ~= id or call('HEXISTS', key, 'finishedOn') == 0 then
    return
  end
  call('DEL', key, key .. ':logs')
  call('HSET', key, unpack(kept))
end

local node, answers = '"' .. take() .. '"', {}
for n = 1, tonumber(take()) do
  local id, version, head, tail, task, task_tail = take(), take(), take(), take(), take(), take()
  local h, why = read_head(id)
  if not h then
    answers[n] = why
  elseif h.is_short and h.home == node and h.version == version then
    -- The same again: its answer was lost.
    answers[n] = 'done'
  elseif h.is_short or h.node ~= 'null' or h.version ~= version or not ENDED[h.status] then
    answers[n] = 'conflict'
  else
    local named = h.job == id and '' or ',"job":"' .. h.job .. '"'
    call('SET', O .. 'agent:' .. id, head .. named .. tail)
    call('ZREM', O .. 'ended', ended_member(h))
    task_shortened(task, id, task_tail)
    local job = job_of(h)
    if job ~= id and call('HGET', O .. 'tied', job) == id then
      call('HDEL', O .. 'tied', job)
    end
    shorten_job(job, id)
    answers[n] = 'done'
  end
end
return answers
