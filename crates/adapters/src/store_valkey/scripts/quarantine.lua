-- Sets a record aside that cannot be read, if it is still the one that was looked at; also what is listed and is gone.
local id, seen, why, now = take(), take(), take(), whole(now_ms())
local key = O .. 'agent:' .. id
local text = call('GET', key) or ''
if text ~= seen then
  return 0
end
local listed = call('ZREM', O .. 'leased', id) + call('ZREM', O .. 'dead', id)
for _, status in ipairs(STATUSES) do
  listed = listed + call('ZREM', O .. 'agents:' .. status, id)
end
local there = call('EXISTS', key) == 1
if not there and listed == 0 then
  return 0
end
if there then
  call('RENAME', key, O .. 'quarantine:' .. id)
else
  call('SET', O .. 'quarantine:' .. id, '')
end
call('XADD', O .. 'quarantine', '*', 'id', id, 'why', why)
local h = parse_head(id, text)
local job = h and job_of(h) or id
if call('HGET', K .. job, 'agentId') == id then
  dequeue(job)
  call('LREM', K .. 'active', 0, job)
  call('DEL', K .. job .. ':lock')
  if call('HEXISTS', K .. job, 'finishedOn') == 0 then
    finish(job, 'failed', now, 'the record of its agent is damaged and was set aside', '[]', 'active')
  end
end
return 1
