-- Admits agents: each gets its record, task, place in the queue and facts, or an answer why not; nothing in between.
local QUEUE_LIMIT, KEY_TERM = tonumber(take()), take()
local items, answers, fields, task_keys, agent_keys = {}, {}, {}, {}, {}
for n = 1, tonumber(take()) do
  local i = {}
  i.id, i.task, i.type, i.key, i.print = take(), take(), take(), take(), take()
  i.spawned, i.stamp, i.due, i.priority, i.job, i.job_text = take(), take(), take(), take(), take(), take()
  i.phase, i.data, i.opts, i.needs, i.tail, i.task_tail = take(), take(), take(), take(), take(), take()
  -- The mark of the data, and of those of another producer's job as the node read them.
  i.mark, i.seen = take(), take()
  i.columns, i.id_bytes = take(), take()
  i.facts, i.count = take_facts()
  items[n], fields[n] = i, i.type .. ':' .. i.task
  task_keys[n], agent_keys[n] = O .. 'task:' .. i.task, O .. 'agent:' .. i.id
end

local queued = call('LLEN', K .. 'wait') + call('ZCARD', K .. 'prioritized') + call('ZCARD', K .. 'delayed')
local holders = call('HMGET', O .. 'active', unpack(fields))
local taken, keyed, accepted = {}, {}, {}
-- Ids are random, so that all of them are new is looked at in one go.
local some_exist = call('EXISTS', unpack(agent_keys)) > 0

-- Returns who this key stands for, or the refusal of a key that stands for something else.
local function known(i)
  if i.key == '' then
    return nil
  end
  local first = keyed[i.key]
  if first then
    return first.print == i.print and { 'replay', first.id } or { 'mismatch' }
  end
  local kept = call('GET', O .. 'idempotency:' .. i.key)
  local print, id, since = match(kept or '', '^(.*)\n([^\n]*)\n(%d+)$')
  if not id or i.spawned - since >= tonumber(KEY_TERM) then
    return nil
  end
  return print == i.print and { 'replay', id } or { 'mismatch' }
end

-- Tells whether an agent still works on the task.
local function is_busy(holder)
  local h, why = read_head(holder)
  if why == 'damaged' then
    return 'damaged'
  end
  return h and not ENDED[h.status]
end

-- Looks at the job of another producer.
local function job_refused(i)
  if call('EXISTS', K .. i.job) == 0 or call('HEXISTS', K .. i.job, 'finishedOn') == 1 then
    return true
  end
  -- Another worker was faster.
  if call('LPOS', K .. 'active', i.job) then
    return true
  end
  -- Its data were changed since the node read them.
  if i.seen ~= '' and data_mark(call('HGET', K .. i.job, 'data') or '') ~= i.seen then
    return true
  end
  local tied = call('HGET', K .. i.job, 'agentId')
  return tied and is_busy(tied)
end

for n, i in ipairs(items) do
  local holder = taken[fields[n]] or holders[n]
  local busy = holder and (taken[fields[n]] or is_busy(holder))
  local answer = known(i)
  if answer then
    answers[n] = answer
  elseif busy == 'damaged' then
    answers[n] = { 'damaged', holder }
  elseif busy then
    answers[n] = { 'active', holder }
  elseif i.job == '' and queued >= QUEUE_LIMIT then
    answers[n] = { 'full', queued }
  elseif (some_exist and call('EXISTS', agent_keys[n]) == 1) or (i.job ~= '' and job_refused(i)) then
    answers[n] = { 'conflict' }
  else
    queued = queued + (i.job == '' and 1 or 0)
    taken[fields[n]] = i.id
    keyed[i.key] = i
    accepted[#accepted + 1] = n
  end
end
if #accepted == 0 then
  answers[#answers + 1] = 0
  return answers
end

local total = 0
for _, n in ipairs(accepted) do
  total = total + items[n].count
end
local seq = call('INCRBY', O .. 'admitted', #accepted) - #accepted
local counter = call('INCRBY', K .. 'pc', #accepted) - #accepted
local fact = number_facts(total)
call('INCRBY', K .. 'id', #accepted)
local old_tasks = call('MGET', unpack(task_keys))
local texts, tasks, places, statuses, actives = {}, {}, {}, {}, {}
local function add(list, one, other)
  list[#list + 1] = one
  list[#list + 1] = other
end

local function tie(i)
  local place = call('ZSCORE', K .. 'prioritized', i.job)
  call('HSET', K .. i.job, 'agentId', i.id, 'needs', i.needs)
  -- A job of ours that is put back after its agent was archived has no data.
  if call('HSETNX', K .. i.job, 'data', i.data) == 1 then
    call('HSET', K .. i.job, 'dataMark', i.mark)
  elseif i.seen ~= '' then
    call('HSET', K .. i.job, 'dataMark', i.seen)
  else
    call('HSETNX', K .. i.job, 'dataMark', data_mark(call('HGET', K .. i.job, 'data')))
  end
  call('HSET', O .. 'tied', i.job, i.id)
  call('ZREM', O .. 'others', i.job)
  if place then
    call('HSET', K .. i.job, 'place', whole(place))
  end
end

local function add_job(i)
  counter = counter + 1
  local place = whole(i.priority * CLASS + counter % CLASS)
  local delay = i.due == '0' and '0' or whole(math.max(0, i.due - i.spawned))
  call('HSET', K .. i.id, 'name', 'spawn', 'data', i.data, 'opts', i.opts, 'timestamp', i.spawned, 'delay', delay,
    'priority', i.priority, 'agentId', i.id, 'place', place, 'needs', i.needs, 'dataMark', i.mark)
  event('added', 'jobId', i.id, 'name', 'spawn')
  if i.due == '0' then
    add(places, place, i.id)
    event('waiting', 'jobId', i.id)
  else
    delay_until(i.id, tonumber(i.due))
    wake_when_due()
  end
end

for _, n in ipairs(accepted) do
  local i = items[n]
  seq = seq + 1
  local logged = log_facts(i.facts, i.count, i.id, 0, fact)
  fact = fact + i.count
  local text_seq = whole(seq)
  local head = { version = '1', seq = text_seq, epoch = '0', node = 'null', home = 'null', job = i.job_text, due = i.due,
    last = '', status = 'spawning', phase = i.phase, logged = whole(logged) }
  add(texts, agent_keys[n], compose(head) .. i.tail)
  tasks[task_keys[n]] = task_with(tasks[task_keys[n]] or old_tasks[n], i.id, i.stamp, i.task_tail)
  if i.key ~= '' then
    call('SET', O .. 'idempotency:' .. i.key, i.print .. '\n' .. i.id .. '\n' .. i.spawned, 'PX', KEY_TERM)
  end
  add(statuses, text_seq, i.id)
  index_row(seq, i.columns, i.id_bytes)
  add(actives, fields[n], i.id)
  if i.job == '' then
    add_job(i)
  else
    tie(i)
  end
  answers[n] = { 'new', seq }
end
for key, text in pairs(tasks) do
  add(texts, key, text)
end
call('MSET', unpack(texts))
call('ZADD', O .. 'agents:spawning', unpack(statuses))
call('HSET', O .. 'active', unpack(actives))
if #places > 0 then
  call('ZADD', K .. 'prioritized', unpack(places))
  wake()
end
answers[#answers + 1] = newest
return answers
