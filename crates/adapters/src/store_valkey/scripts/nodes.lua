-- Tells the time, every node, every cordon, and when the last lease of each holder ends.
local now, ends = now_ms(), {}
each_lease(function(h, lock)
  local left = call('PTTL', lock)
  if left > 0 and now + left > (ends[h.node] or 0) then
    ends[h.node] = now + left
  end
end)
local last = {}
for node, at in pairs(ends) do
  last[#last + 1] = string.sub(node, 2, -2)
  last[#last + 1] = whole(at)
end
return { whole(now), call('HGETALL', O .. 'nodes'), call('HGETALL', O .. 'cordons'), last }
