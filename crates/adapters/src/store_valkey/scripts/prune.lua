-- Removes old facts from the beginning of the log; the newest stays.
local before, most = tonumber(take()), tonumber(take())
local gone, last = 0, nil
local length = call('XLEN', O .. 'log')
for _, entry in ipairs(call('XRANGE', O .. 'log', '-', '+', 'COUNT', math.min(most, length))) do
  local when = tonumber(match(entry[2][2] or '', '"at":(%d+)}$'))
  if gone + 1 >= length or not when or when >= before then
    break
  end
  gone, last = gone + 1, entry[1]
end
if last then
  local seq = tonumber(match(last, '^(%d+)'))
  call('XTRIM', O .. 'log', 'MINID', whole(seq + 1) .. '-0')
end
return gone
