-- Lists ready entries of one class in their order: agent, time of the job, seq of its admission for equal times.
local class, from, size = tonumber(take()), tonumber(take()), tonumber(take())
local jobs
if class == 0 then
  local listed = call('LRANGE', K .. 'wait', -(from + size), -(from + 1))
  jobs = {}
  for n = #listed, 1, -1 do
    jobs[#jobs + 1] = listed[n]
  end
else
  jobs = call('ZRANGEBYSCORE', K .. 'prioritized', whole(class * CLASS), '(' .. whole((class + 1) * CLASS), 'LIMIT', from, size)
end
local out = { #jobs }
for _, job in ipairs(jobs) do
  local j = call('HMGET', K .. job, 'agentId', 'timestamp')
  if j[1] then
    out[#out + 1] = j[1]
    out[#out + 1] = j[2] or '0'
  end
end
return out
