-- Makes a node known, unless a server of that name in another directory, or under another boot, is alive or what it holds
-- has not run out. Forgets names whose last heartbeat is very long ago.
local node, term, memory, info = take(), tonumber(take()), tonumber(take()), take()
local is = cjson.decode(info)
local now = now_ms()
if store_format() > format_of(is) then
  return { whole(store_format()), 'newer', '' }
end
local old = call('HGET', O .. 'nodes', node)
if old then
  local was = cjson.decode(old)
  if not same_boot(was.info, is) then
    local alive = not was.left and now - was.seenAt < term
    local holds = each_lease(function(h, _, holder)
      return holder and h.node == '"' .. node .. '"'
    end)
    if alive or holds then
      return { whole(was.seenAt), same_directory(was.info, is) and 'restarted' or 'taken', '' }
    end
  end
end
local all = call('HGETALL', O .. 'nodes')
if format_of(is) > store_format() then
  for n = 1, #all, 2 do
    local other = cjson.decode(all[n + 1])
    local alive = not other.left and now - other.seenAt < term
    if all[n] ~= node and alive and format_of(other.info) < format_of(is) then
      return { whole(other.seenAt), 'older', all[n] }
    end
  end
  call('SET', O .. 'format', whole(format_of(is)))
end
heard(node, info, 'false')
call('HDEL', O .. 'lost', node)
for n = 1, #all, 2 do
  if now - cjson.decode(all[n + 1]).seenAt > memory then
    call('HDEL', O .. 'nodes', all[n])
    call('HDEL', O .. 'cordons', all[n])
  end
end
return false
