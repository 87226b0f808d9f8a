-- Adds jobs; answers their ids in order. One that exists already stays as it is.
local count = tonumber(take())
local first = call('INCRBY', K .. 'id', count) - count
local ids, pushed, placed, delayed, prioritized = {}, {}, {}, false, nil
for n = 1, count do
  local id, name, data, opts, stamp, delay, priority = take(), take(), take(), take(), take(), take(), take()
  local is_numbered = id == ''
  if is_numbered then
    id = whole(first + n)
  end
  ids[n] = id
  local key = K .. id
  -- Nobody else may give a number as an id.
  if not is_numbered and call('EXISTS', key) == 1 then
    event('duplicated', 'jobId', id)
  else
    call('HSET', key, 'name', name, 'data', data, 'opts', opts, 'timestamp', stamp, 'delay', delay, 'priority', priority)
    event('added', 'jobId', id, 'name', name)
    if delay ~= '0' then
      delay_until(id, stamp + delay)
      delayed = true
    else
      if priority == '0' then
        pushed[#pushed + 1] = id
      else
        prioritized = prioritized or {}
        prioritized[#prioritized + 1] = id
        placed[#placed + 1] = priority * CLASS
      end
      event('waiting', 'jobId', id)
    end
  end
end
if #pushed > 0 then
  call('LPUSH', K .. 'wait', unpack(pushed))
end
if prioritized then
  local counter = call('INCRBY', K .. 'pc', #prioritized) - #prioritized
  local args = {}
  for n, id in ipairs(prioritized) do
    args[2 * n - 1] = whole(placed[n] + (counter + n) % CLASS)
    args[2 * n] = id
  end
  call('ZADD', K .. 'prioritized', unpack(args))
end
if #pushed > 0 or prioritized then
  wake()
end
if delayed then
  wake_when_due()
end
return ids
