-- A node's server ends: it is not missed. What it holds stays its own until its leases end.
local node = take()
local old = call('HGET', O .. 'nodes', node)
if old then
  call('HSET', O .. 'nodes', node, (string.gsub(old, '"left":false', '"left":true', 1)))
end
return false
