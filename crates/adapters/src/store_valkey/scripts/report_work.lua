-- Records what a node keeps of an agent that has a record; logs it when it is new.
local id, node, report = take(), take(), take()
local first, count = take_facts()
local h = read_head(id)
if not h then
  return newest
end
if call('HGET', O .. 'work:' .. id, node) ~= report then
  call('HSET', O .. 'work:' .. id, node, report)
  log_facts(first, count, '', 0)
end
return newest
