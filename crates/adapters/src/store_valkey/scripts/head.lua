-- The head of an agent's record: what scripts need to know, in a fixed form, so that the long rest need not be read.
local HEAD = '^{"version":(%d+),"seq":(%d+),"epoch":(%d+),"node":([^,]+),"home":([^,]+),"job":"([^"]*)","due":(%d+),'
  .. '"last":"(%x*)","status":"(%a+)","phase":"(%a+)","loggedAt":()(%d+),()"agentId":"([^"]+)"'
-- The beginning of a short form: the whole record lies in an archive. The job stands there only when it is another than the
-- agent's own.
local SHORT = '^{"agentId":"([^"]+)","status":"(%a+)","archive":{"node":("[^"]+"),"seq":(%d+),"version":(%d+),"epoch":(%d+)()'
local ENDED = { completed = true, failed = true, killed = true }
local STATUSES = { 'spawning', 'running', 'completed', 'failed', 'killed' }

local function parse_short(id, text)
  local h = { node = 'null', due = '0', last = '', phase = 'settled', logged = '0', is_short = true }
  local rest
  h.id, h.status, h.home, h.seq, h.version, h.epoch, rest = match(text, SHORT)
  if h.id ~= id then
    return nil
  end
  h.job = match(text, '^,"job":"([^"]*)"', rest) or id
  return h
end

local function parse_head(id, text)
  if string.sub(text, 1, 11) == '{"agentId":' then
    return parse_short(id, text)
  end
  local h = {}
  h.version, h.seq, h.epoch, h.node, h.home, h.job, h.due, h.last, h.status, h.phase, h.logged_from, h.logged, h.rest, h.id =
    match(text, HEAD)
  if h.id ~= id then
    return nil
  end
  return h
end

-- Returns the head, or nil with 'none' or 'damaged'.
local function read_head(id)
  local key = O .. 'agent:' .. id
  local text = call('GETRANGE', key, 0, 2047)
  if text == '' then
    return nil, call('EXISTS', key) == 1 and 'damaged' or 'none'
  end
  local h = parse_head(id, text)
  if h then
    return h
  end
  return nil, 'damaged'
end

local function compose(h)
  return '{"version":' .. h.version .. ',"seq":' .. h.seq .. ',"epoch":' .. h.epoch .. ',"node":' .. h.node
    .. ',"home":' .. h.home .. ',"job":"' .. h.job .. '","due":' .. h.due .. ',"last":"' .. h.last
    .. '","status":"' .. h.status .. '","phase":"' .. h.phase .. '","loggedAt":' .. h.logged .. ','
end

-- The id of the agent's job; in the head it stands as JSON.
local function job_of(h)
  if string.find(h.job, '\\', 1, true) then
    return cjson.decode('"' .. h.job .. '"')
  end
  return h.job
end

-- The member of the set of ended agents: equal ends go by admission.
local function ended_member(h)
  return format('%016d:', h.seq) .. h.id
end
