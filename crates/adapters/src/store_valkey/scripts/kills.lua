-- Adds an order about one agent, unless one stands, or takes it away when the order's text is empty.
local id, order = take(), take()
local first, count = take_facts()
local changed
if order == '' then
  changed = call('HDEL', O .. 'kills', id)
else
  changed = call('HSETNX', O .. 'kills', id, order)
end
if changed == 1 then
  log_facts(first, count, '', 0)
  call('PUBLISH', O .. 'stir', 'orders')
end
return newest
