-- Cordons a node, or lets it take work again; 0 when there is no such node.
local node, cordon = take(), take()
local first, count = take_facts()
if call('HEXISTS', O .. 'nodes', node) == 0 then
  return { 0, newest }
end
local old = call('HGET', O .. 'cordons', node) or ''
if cordon ~= old then
  if cordon == '' then
    call('HDEL', O .. 'cordons', node)
  else
    call('HSET', O .. 'cordons', node, cordon)
  end
  log_facts(first, count, '', 0)
  call('PUBLISH', O .. 'stir', 'cordon')
end
return { 1, newest }
