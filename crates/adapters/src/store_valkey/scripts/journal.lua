-- The event log. Each fact is six arguments: agent, time, the same as text, the entry and the envelope up to where time and
-- number belong, and a line for the job's log.
local LOG_ENTRIES = take()
local newest = 0

local function iso(ms)
  local floor = math.floor
  local days = floor(ms / 86400000)
  local rest = ms - days * 86400000
  local z = days + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, doy - floor((153 * mp + 2) / 5) + 1,
    floor(rest / 3600000), floor(rest / 60000) % 60, floor(rest / 1000) % 60, rest % 1000)
end

-- Logs a time in the record of an agent that is not being written; returns the time that the fact gets.
local function touch(id, ms)
  local h = read_head(id)
  -- A short form says no more when its agent's log was last written.
  if not h or h.is_short then
    return ms
  end
  if tonumber(h.logged) >= ms then
    return tonumber(h.logged)
  end
  local key, text = O .. 'agent:' .. id, whole(ms)
  if #text == #h.logged then
    call('SETRANGE', key, h.logged_from - 1, text)
  else
    h.logged = text
    call('SET', key, compose(h) .. string.sub(call('GET', key), h.rest))
  end
  return ms
end

-- Takes over how many facts there are and where they begin.
local function take_facts()
  local count = tonumber(take())
  local first = at + 1
  at = at + 6 * count
  return first, count
end

-- Gives this many numbers; returns the one before the first.
local function number_facts(count)
  return count > 0 and call('INCRBY', O .. 'facts', count) - count or newest
end

-- Logs facts; those about `id`, whose log was last written at `logged`, never go back in time. Returns that time and the
-- lines for the job's log.
local function log_facts(first, count, id, logged, seq)
  if count == 0 then
    return logged, {}
  end
  seq = seq or number_facts(count)
  local lines = {}
  for n = first, first + 6 * (count - 1), 6 do
    local about, at_text, stamp = ARGV[n], ARGV[n + 1], ARGV[n + 2]
    local given = tonumber(at_text)
    local ms = given
    if about == id then
      ms = given < logged and logged or given
      logged = ms
      if ARGV[n + 5] ~= '' then
        lines[#lines + 1] = ARGV[n + 5]
      end
    elseif about ~= '' then
      ms = touch(about, given)
    end
    if ms ~= given then
      at_text, stamp = whole(ms), iso(ms)
    end
    seq = seq + 1
    local number = whole(seq)
    call('XADD', O .. 'log', 'MAXLEN', '~', LOG_ENTRIES, number .. '-0', 'f', ARGV[n + 3] .. at_text .. '}')
    call('PUBLISH', O .. 'events', ARGV[n + 4] .. stamp .. '","id":"' .. number .. '","sequence":"' .. number .. '"}')
  end
  newest = seq
  return logged, lines
end
