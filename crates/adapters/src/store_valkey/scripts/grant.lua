-- Giving a lease anew: the record says who holds it under which epoch, and the job's lock says so to others. It is the same
-- attempt as before, so the starts that BullMQ counts stay as they are.
local TERM = take()

local function grant(h, job, node)
  local key = O .. 'agent:' .. h.id
  local rest = string.sub(call('GET', key), h.rest)
  h.epoch, h.node, h.home = whole(h.epoch + 1), '"' .. node .. '"', '"' .. node .. '"'
  h.last = ''
  local text = compose(h) .. rest
  call('SET', key, text)
  call('SET', K .. job .. ':lock', node .. ':' .. h.epoch, 'PX', TERM)
  call('ZADD', O .. 'leased', h.seq, h.id)
  return text
end
