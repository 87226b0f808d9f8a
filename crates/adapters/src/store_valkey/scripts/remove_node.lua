-- Takes a node off the list that is gone and holds nothing, and declares it lost for good when that is said.
local node, term, lost = take(), tonumber(take()), take()
local first, count = take_facts()
local now = now_ms()
local old = call('HGET', O .. 'nodes', node)
if not old and lost == '' then
  return { 'unknown', 0, newest }
end
if old then
  local was = cjson.decode(old)
  if not was.left and now - was.seenAt < term then
    return { 'alive', whole(was.seenAt), newest }
  end
end
local ends = 0
each_lease(function(h, lock)
  if h.node == '"' .. node .. '"' then
    ends = math.max(ends, now + math.max(call('PTTL', lock), 1))
  end
end)
if ends > 0 then
  return { 'holds', whole(ends), newest }
end
call('HDEL', O .. 'nodes', node)
call('HDEL', O .. 'cordons', node)
if lost ~= '' then
  call('HSET', O .. 'lost', node, lost)
end
log_facts(first, count, '', 0)
call('PUBLISH', O .. 'stir', 'node')
return { 'done', 0, newest }
