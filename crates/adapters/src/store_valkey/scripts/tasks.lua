-- The record of a task, for people: a fixed head, then its id and the newest agent's context.
local TASK = '^{"status":"(%a+)","agentId":"([^"]*)","agents":%[([^%]]*)%],"createdAt":"([^"]*)","updatedAt":"[^"]*",(.*)$'

-- Other programs may have put anything there; MGET reads what is no text as nothing.
local function task_text(key)
  return call('MGET', key)[1] or nil
end

local function compose_task(status, newest_agent, agents, created, updated, rest)
  return '{"status":"' .. status .. '","agentId":"' .. newest_agent .. '","agents":[' .. agents
    .. '],"createdAt":"' .. created .. '","updatedAt":"' .. updated .. '",' .. rest
end

-- The time of this script as text.
local stamp_now
local function stamped()
  stamp_now = stamp_now or iso(now_ms())
  return stamp_now
end

local function write_task(key, ...)
  call('SET', key, compose_task(...))
end

-- Returns the text of a task, which was `text`, with one agent more.
local function task_with(text, id, stamp, rest)
  local agents, created = '"' .. id .. '"', stamp
  if text then
    local _, _, others, since = match(text, TASK)
    if others then
      created = since
      agents = others == '' and agents or others .. ',' .. agents
    end
  end
  return compose_task('spawning', id, agents, created, stamp, rest)
end

local function task_status(task, id, status)
  local key = O .. 'task:' .. task
  local _, newest_agent, agents, created, rest = match(task_text(key) or '', TASK)
  if newest_agent == id then
    write_task(key, status, id, agents, created, stamped(), rest)
  end
end

-- The newest agent of the task was archived: only so much is left of its context.
local function task_shortened(task, id, rest)
  local key = O .. 'task:' .. task
  local text = task_text(key) or ''
  local status, newest_agent, agents, created = match(text, TASK)
  if newest_agent == id then
    local updated = match(text, '"updatedAt":"([^"]*)"')
    call('SET', key, compose_task(status, id, agents, created, updated, rest))
  end
end

-- An agent of the task is gone; the task goes with its last one.
local function task_without(task, id)
  local key = O .. 'task:' .. task
  local status, newest_agent, agents, created, rest = match(task_text(key) or '', TASK)
  if not status then
    return
  end
  local left, last = {}, nil
  for one in string.gmatch(agents, '"([^"]+)"') do
    if one ~= id then
      left[#left + 1] = '"' .. one .. '"'
      last = one
    end
  end
  if not last then
    call('DEL', key)
    return
  end
  if newest_agent == id then
    local h = read_head(last)
    newest_agent, status = last, h and h.status or status
  end
  write_task(key, status, newest_agent, table.concat(left, ','), created, stamped(), rest)
end
