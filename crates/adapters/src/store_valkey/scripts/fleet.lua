-- The nodes of the fleet: each stands in a hash with the time of its last heartbeat, by this server's clock.
-- Tells whether two records are of one data directory, and not of a copy. Earlier versions say less.
local function same_directory(was, is)
  return was.instance == is.instance and (not was.directory or was.directory == is.directory)
end

-- Tells whether two records are of one data directory under one boot of a machine.
local function same_boot(was, is)
  return same_directory(was, is) and (not was.boot or was.boot == is.boot)
end

-- The format of a node's build, and the newest one that any node has written here.
local function format_of(info)
  return tonumber(info.format or 1)
end
local function store_format()
  return tonumber(call('GET', O .. 'format') or 1)
end

local function heard(node, info, left)
  call('HSET', O .. 'nodes', node, '{"seenAt":' .. whole(now_ms()) .. ',"left":' .. left .. ',"info":' .. info .. '}')
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
