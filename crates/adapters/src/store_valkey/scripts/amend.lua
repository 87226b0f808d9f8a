-- Writes new states of agents that nobody holds. Each change is preceded by the version that was read; one answer each.
local function refused(h, c, version)
  if h.node ~= 'null' or h.version ~= version then
    return true
  end
  -- Nothing follows an end: what is written over it says the same end.
  if h.is_short then
    return c.status ~= h.status or c.state == ''
  end
  if ENDED[h.status] then
    return c.state == '' or string.sub(call('GET', O .. 'agent:' .. h.id), -#c.state) ~= c.state
  end
end

local answers = {}
for n = 1, tonumber(take()) do
  local version = take()
  local c = take_change()
  local h, why = read_head(c.id)
  if not h then
    answers[n] = why
  elseif refused(h, c, version) then
    answers[n] = 'conflict'
  else
    answers[n] = write_record(h, c)
  end
end
answers[#answers + 1] = newest
return answers
