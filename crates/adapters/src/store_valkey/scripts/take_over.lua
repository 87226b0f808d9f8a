-- Gives a leased agent to a node under a new epoch. Its own leases a node takes back at once, others' when they ran out.
local id, node, latest, now = take(), take(), tonumber(take()), whole(now_ms())
local h, why = read_head(id)
if not h then
  return why
end
local job = job_of(h)
-- A clock that was set forward has ended leases whose agents live.
if h.node ~= '"' .. node .. '"' and latest > 0 and tonumber(now) > latest then
  return 'conflict'
end
if h.node == 'null' or (h.node ~= '"' .. node .. '"' and call('EXISTS', K .. job .. ':lock') == 1) then
  return 'conflict'
end
-- Another worker may have put the job back or ended it.
local tied = call('HMGET', K .. job, 'agentId', 'finishedOn')
if tied[1] == id and not tied[2] then
  if not call('LPOS', K .. 'active', job) then
    dequeue(job)
    call('LPUSH', K .. 'active', job)
  end
  call('HSET', K .. job, 'processedOn', now, 'pb', node)
  event('active', 'jobId', job, 'prev', 'active')
end
return { id, grant(h, job, node) }
