-- Every script: KEYS are what the names of our keys and of the queue's keys begin with, or only the latter; they carry the
-- hash tag. Arguments are taken one after the other.
local O, K = KEYS[1], KEYS[2] or KEYS[1]
local call, match, format = redis.call, string.match, string.format
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function whole(n)
  return format('%.0f', n)
end
local CLASS = 4294967296

-- The time by this server's clock, in milliseconds.
local function now_ms()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The time that a decision goes by: this server's, so that no node's clock decides; only tests give one.
local function time_of(given)
  return given == '' and now_ms() or tonumber(given)
end
