-- Counts ready entries that start before an agent's: in each class those with a lower rank, found by halving.
local id, ageing, most_classes = take(), tonumber(take()), tonumber(take())
local h = read_head(id)
if not h or h.node ~= 'null' or ENDED[h.status] then
  return false
end
local job = job_of(h)
local function rank(other, class)
  local time = call('HGET', K .. other, 'timestamp')
  return (tonumber(time or 0) or 0) + math.min(class, 10) * ageing
end
local own = call('ZSCORE', K .. 'prioritized', job)
local waits = not own and call('LPOS', K .. 'wait', job, 'RANK', -1)
if not own and not waits then
  if call('ZSCORE', K .. 'delayed', job) then
    return call('ZCARD', K .. 'prioritized') + call('LLEN', K .. 'wait')
  end
  return false
end
local own_class = own and math.floor(own / CLASS) or 0
local own_rank = rank(job, own_class)

-- Returns how many of a class's `size` entries start before; `nth` counts from 0.
local function before(class, size, nth)
  local low, high = 0, size
  while low < high do
    local middle = math.floor((low + high) / 2)
    local theirs = rank(nth(middle), class)
    if theirs < own_rank or (theirs == own_rank and class < own_class) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local count
local length = call('LLEN', K .. 'wait')
if own then
  count = before(0, length, function(n)
    return call('LINDEX', K .. 'wait', -(n + 1))
  end)
else
  count = length - 1 - waits
end
for _, class in ipairs(priority_classes(most_classes)) do
  local low, high = whole(class * CLASS), '(' .. whole((class + 1) * CLASS)
  local start = call('ZCOUNT', K .. 'prioritized', '-inf', '(' .. low)
  if own and class == own_class then
    count = count + call('ZRANK', K .. 'prioritized', job) - start
  else
    local size = call('ZCOUNT', K .. 'prioritized', low, high)
    count = count + before(class, size, function(n)
      return call('ZRANGE', K .. 'prioritized', start + n, start + n)[1]
    end)
  end
end
return count
