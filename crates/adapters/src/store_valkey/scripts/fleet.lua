-- The nodes of the fleet: each stands in a hash with when it was heard of, by this server's clock.
local function clock()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function heard(node, info, left)
  call('HSET', O .. 'nodes', node, '{"seenAt":' .. whole(clock()) .. ',"left":' .. left .. ',"info":' .. info .. '}')
end

-- Calls `each` with the head, the lock's key and its holder, of all that is leased, until it returns true.
local function each_lease(each)
  for _, id in ipairs(call('ZRANGE', O .. 'leased', 0, -1)) do
    local h = read_head(id)
    if h and h.node ~= 'null' then
      local lock = K .. job_of(h) .. ':lock'
      if each(h, lock, call('GET', lock)) then
        return true
      end
    end
  end
  return false
end
