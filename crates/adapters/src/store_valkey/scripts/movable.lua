-- Lists whole records of agents that ended before a time and whose home is this node, with the lines of their jobs' logs;
-- with `unplaced` also of those that have no home. Looks at most at so many, from where it is told; answers with where it
-- stopped first.
local node, before, unplaced, from, most, looks = '"' .. take() .. '"', take(), take() == '1', tonumber(take()), tonumber(take()), tonumber(take())
local members = call('ZRANGEBYSCORE', O .. 'ended', '-inf', '(' .. before, 'LIMIT', from, looks)
local answer, looked = { 0 }, 0
for _, member in ipairs(members) do
  if #answer > 2 * most then
    break
  end
  looked = looked + 1
  local id = match(member, ':(.+)$')
  local h = id and read_head(id)
  if h and not h.is_short and h.node == 'null' and (h.home == node or (unplaced and h.home == 'null')) then
    answer[#answer + 1] = call('GET', O .. 'agent:' .. id)
    answer[#answer + 1] = table.concat(call('LRANGE', K .. job_of(h) .. ':logs', 0, -1), '\n')
  end
end
answer[1] = looked < #members and from + looked or (#members < looks and -1 or from + #members)
return answer
