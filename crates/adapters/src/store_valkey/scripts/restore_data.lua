-- Writes the data back that an agent was admitted with, where an external client wrote over those of its job; logs that. Returns
-- whether it did.
local id, job, data, mark, log_lines = take(), take(), take(), take(), tonumber(take())
local first, count = take_facts()
local found = classify_external(job)
call('ZREM', O .. 'others', job)
if not found or found[1] ~= 'changed' or found[2] ~= id then
  return { 0, newest }
end
call('HSET', K .. job, 'data', data, 'dataMark', mark)
for n = 0, count - 1 do
  call('RPUSH', K .. job .. ':logs', ARGV[first + 6 * n + 5])
end
call('LTRIM', K .. job .. ':logs', -log_lines, -1)
log_facts(first, count, '', 0)
return { 1, newest }
