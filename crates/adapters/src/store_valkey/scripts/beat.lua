-- A node is alive, and extends its leases. Answers with its cordon, then with the agents whose lease is another's.
local node, term, info = take(), take(), take()
local held = cjson.decode(take())
-- A node that was silent while newer builds took over must not write beside them.
if store_format() > format_of(cjson.decode(info)) then
  return redis.error_reply('NEWERFORMAT a newer build has joined this fleet; start that one here, too')
end
local old = call('HGET', O .. 'nodes', node)
local was = old and cjson.decode(old)
-- A server that came back after its name was given away does not take the name back.
if not was or same_boot(was.info, cjson.decode(info)) or was.left or now_ms() - was.seenAt >= tonumber(term) then
  heard(node, info, 'false')
  if not was then
    call('HDEL', O .. 'lost', node)
  end
end
local answer = { call('HGET', O .. 'cordons', node) or '' }
for _, lease in ipairs(held) do
  local id, epoch = lease[1], lease[2]
  local h = read_head(id)
  local kept = false
  if h and h.node == '"' .. node .. '"' and h.epoch == epoch then
    local job, token = job_of(h), node .. ':' .. epoch
    local holder = call('GET', K .. job .. ':lock')
    if not holder or holder == token then
      call('SET', K .. job .. ':lock', token, 'PX', term)
      call('SREM', K .. 'stalled', job)
      kept = true
    end
  end
  if not kept then
    answer[#answer + 1] = id
  end
end
return answer
