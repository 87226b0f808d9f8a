-- Removes an ended agent with its job, and leaves a note.
local id, version, task, when, why = take(), take(), take(), take(), take()
local node, most_notes = take(), tonumber(take())
local first, count = take_facts()
local h, fault = read_head(id)
if not h then
  return { fault, 0 }
end
if h.node ~= 'null' or h.version ~= version or not ENDED[h.status] then
  return { 'conflict', 0 }
end
log_facts(first, count, id, tonumber(h.logged))
call('DEL', O .. 'agent:' .. id, O .. 'work:' .. id)
call('ZREM', O .. 'agents:' .. h.status, id)
call('ZREM', O .. 'ended', ended_member(h))
call('ZREM', O .. 'dead', id)
unindex_row(tonumber(h.seq))
task_without(task, id)
call('ZADD', O .. 'tombstones', when, id)
call('HSET', O .. 'tombstones:why', id, why)
call('HSET', O .. 'tombstones:node', id, node)
while call('ZCARD', O .. 'tombstones') > most_notes do
  local oldest = call('ZPOPMIN', O .. 'tombstones')[1]
  call('HDEL', O .. 'tombstones:why', oldest)
  call('HDEL', O .. 'tombstones:node', oldest)
end
local job = job_of(h)
if call('HGET', O .. 'tied', job) == id then
  call('HDEL', O .. 'tied', job)
end
local tied = call('HGET', K .. job, 'agentId')
if tied == id or (not tied and job == id) then
  local prev = call('ZREM', K .. 'completed', job) == 1 and 'completed' or 'failed'
  call('ZREM', K .. 'failed', job)
  call('DEL', K .. job, K .. job .. ':logs', K .. job .. ':lock')
  event('removed', 'jobId', job, 'prev', prev)
end
return { 'done', newest }
