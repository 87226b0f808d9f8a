-- Gives the best ready entries to those who ask, one each: of each class of priority the oldest, and of those the one with
-- the lowest rank. Entries that the asker's conditions refuse stay where they are; `FROM` entries of each class are passed
-- over, because a look before this one found nothing among them.
local TERM, ageing, MOST_SKIPPED, MOST_CLASSES, FROM = take(), tonumber(take()), tonumber(take()), tonumber(take()), tonumber(take())
local MOST_OF_REPOSITORY = tonumber(take())
local function take_words()
  local words, count = {}, tonumber(take())
  for _ = 1, count do
    words[take()] = true
  end
  return words, count
end
local refused, refusals = take_words()
local labels = take_words()
local askers, answers, now = {}, {}, 0
for n = 1, tonumber(take()) do
  askers[n] = take()
  answers[n] = false
  now = math.max(now, time_of(take()))
end
local stamp = whole(now)
if promote(now) then
  wake()
end
if paused or call('HEXISTS', O .. 'orders', 'latch') == 1 then
  return answers
end
local room = #askers
if most_active > 0 then
  room = math.min(room, most_active - call('LLEN', K .. 'active'))
end
local kills = call('HLEN', O .. 'kills') > 0
local classes = {}

-- A page of the jobs without priority, the next one first; they have no place.
local function without_priority(from, size)
  local jobs = call('LRANGE', K .. 'wait', -(from + size), -(from + 1))
  local turned = {}
  for n = #jobs, 1, -1 do
    turned[#turned + 1] = jobs[n]
    turned[#turned + 1] = false
  end
  return turned
end

local function add_class(class, page)
  classes[#classes + 1] = { penalty = math.min(class, 10) * ageing, page = page, from = FROM, size = room, read = {}, next = 1 }
end

if call('LLEN', K .. 'wait') > 0 then
  add_class(0, without_priority)
end
for _, class in ipairs(priority_classes(MOST_CLASSES)) do
  local low, high = whole(class * CLASS), '(' .. whole((class + 1) * CLASS)
  add_class(class, function(skip, size)
    return call('ZRANGEBYSCORE', K .. 'prioritized', low, high, 'WITHSCORES', 'LIMIT', skip, size)
  end)
end

-- Tells whether the conditions allow an entry; see needs.rs.
local function fits(id, needs)
  if refused['a' .. id] then
    return false
  end
  if not needs or (refusals == 0 and not string.find(needs, '\nl', 1, true)) then
    return true
  end
  for word in string.gmatch(needs, '[^\n]+') do
    if refused[word] or (string.sub(word, 1, 1) == 'l' and not labels[word]) then
      return false
    end
  end
  return true
end

-- Tells whether as many agents of an entry's repository are leased as may be.
local leased_of
local function is_full_repository(entry)
  if MOST_OF_REPOSITORY == 0 or not entry.repository then
    return false
  end
  leased_of = leased_of or count_leased()
  return (leased_of[entry.repository] or 0) >= MOST_OF_REPOSITORY
end

-- Returns the next entry of a class that may be taken. Jobs that no agent is tied to are somebody else's to take in, and
-- what is to be killed does not start.
local function head_of(c)
  while true do
    while c.read[c.next] and is_full_repository(c.read[c.next]) do
      c.next = c.next + 1
    end
    if c.read[c.next] or c.done then
      return c.read[c.next]
    end
    local jobs = c.page(c.from, c.size)
    for n = 1, #jobs, 2 do
      local j = call('HMGET', K .. jobs[n], 'agentId', 'timestamp', 'ats', 'needs')
      if j[1] and fits(j[1], j[4]) and not (kills and call('HEXISTS', O .. 'kills', j[1]) == 1) then
        c.read[#c.read + 1] =
          { job = jobs[n], place = jobs[n + 1], id = j[1], rank = (tonumber(j[2] or 0) or 0) + c.penalty, starts = j[3] or 0,
            repository = MOST_OF_REPOSITORY > 0 and repository_of(j[4]) }
      end
    end
    c.from = c.from + c.size
    c.done = #jobs < 2 * c.size
    if not c.done and c.from - FROM > MOST_SKIPPED then
      c.done, c.more = true, true
    end
    c.size = 100
  end
end

local function choose()
  local best, best_class
  for _, c in ipairs(classes) do
    local entry = head_of(c)
    if entry and (not best or entry.rank < best.rank) then
      best, best_class = entry, c
    end
  end
  if best then
    best_class.next = best_class.next + 1
  end
  return best, best_class
end

local texts, ranked, started, leased = {}, {}, {}, {}
local function grant(h, text, entry, node)
  local job = entry.job
  h.epoch, h.node, h.home, h.last = whole(h.epoch + 1), '"' .. node .. '"', '"' .. node .. '"', ''
  text = compose(h) .. string.sub(text, h.rest)
  texts[#texts + 1] = O .. 'agent:' .. h.id
  texts[#texts + 1] = text
  leased[#leased + 1] = h.seq
  leased[#leased + 1] = h.id
  started[#started + 1] = job
  if leased_of and entry.repository then
    leased_of[entry.repository] = (leased_of[entry.repository] or 0) + 1
  end
  call('SET', K .. job .. ':lock', node .. ':' .. h.epoch, 'PX', TERM)
  if entry.place then
    ranked[#ranked + 1] = job
    call('HSET', K .. job, 'processedOn', stamp, 'pb', node, 'ats', entry.starts + 1, 'place', whole(entry.place))
  else
    call('LREM', K .. 'wait', -1, job)
    call('HSET', K .. job, 'processedOn', stamp, 'pb', node, 'ats', entry.starts + 1)
  end
  event('active', 'jobId', job, 'prev', 'waiting')
  return text
end

-- Answers one who asks; false when this entry was none to be had.
local function give(entry, class, n)
  local key = O .. 'agent:' .. entry.id
  local text = call('GET', key)
  if not text then
    dequeue(entry.job)
    class.from = class.from - 1
    finish(entry.job, 'failed', stamp, 'the record of its agent is gone', '[]', 'waiting')
    return false
  end
  local h = parse_head(entry.id, text)
  if not h then
    answers[n] = { entry.id, false }
    return true
  end
  if h.node ~= 'null' or ENDED[h.status] then
    return false
  end
  answers[n] = { entry.id, grant(h, text, entry, askers[n]) }
  return true
end

local asker = 1
while asker <= room do
  local entry, class = choose()
  if not entry then
    break
  end
  if give(entry, class, asker) then
    asker = asker + 1
  end
end
if #started == 0 and #askers == 1 and room == 1 then
  -- Tells where a look goes on when nothing of this part could be taken.
  for _, c in ipairs(classes) do
    -- Else the first answer is a damaged record, which is set aside before anything else.
    if c.more and type(answers[1]) ~= 'table' then
      answers[1] = math.max(answers[1] or 0, c.from)
    end
  end
end
if #started > 0 then
  call('MSET', unpack(texts))
  call('ZADD', O .. 'leased', unpack(leased))
  call('LPUSH', K .. 'active', unpack(started))
  if #ranked > 0 then
    call('ZREM', K .. 'prioritized', unpack(ranked))
  end
  if call('ZCARD', K .. 'prioritized') > 0 or call('LLEN', K .. 'wait') > 0 then
    wake()
  end
end
return answers
