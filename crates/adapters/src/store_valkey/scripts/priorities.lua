-- Returns the classes of priority that have entries, the one served first in front, at most so many.
local function priority_classes(most)
  local classes, from = {}, '-inf'
  for n = 1, most do
    local head = call('ZRANGEBYSCORE', K .. 'prioritized', from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not head[2] then
      break
    end
    classes[n] = math.floor(head[2] / CLASS)
    from = whole((classes[n] + 1) * CLASS)
  end
  return classes
end
