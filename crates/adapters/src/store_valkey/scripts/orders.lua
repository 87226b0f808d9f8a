-- Writes barrier and latch if they still are what was looked at. A barrier that covers all that is admitted comes without
-- its place, which is given here.
local seen_barrier, seen_latch, seen_admitted, barrier, latch, placed = take(), take(), take(), take(), take(), take()
local first, count = take_facts()
local old = call('HMGET', O .. 'orders', 'barrier', 'latch')
local admitted = call('GET', O .. 'admitted') or '0'
if (old[1] or '') ~= seen_barrier or (old[2] or '') ~= seen_latch then
  return { 'again', 0 }
end
if placed == '1' then
  barrier = '{"seq":' .. admitted .. barrier
elseif seen_admitted ~= '' and admitted ~= seen_admitted then
  return { 'again', 0 }
end
local function write(field, text, was)
  if text == was then
    return
  end
  if text == '' then
    call('HDEL', O .. 'orders', field)
  else
    call('HSET', O .. 'orders', field, text)
  end
end
write('barrier', barrier, seen_barrier)
write('latch', latch, seen_latch)
if barrier ~= seen_barrier or latch ~= seen_latch then
  log_facts(first, count, '', 0)
  call('PUBLISH', O .. 'stir', 'orders')
end
return { 'done', newest }
