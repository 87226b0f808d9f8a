-- Makes ready what is due and lists the classes that have entries.
promote(tonumber(take()))
local out = {}
if call('LLEN', K .. 'wait') > 0 then
  out[1] = 0
end
local from, most = '-inf', tonumber(take())
for _ = 1, most do
  local head = call('ZRANGEBYSCORE', K .. 'prioritized', from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not head[1] then
    break
  end
  local class = math.floor(head[2] / CLASS)
  out[#out + 1] = class
  from = whole((class + 1) * CLASS)
end
return out
