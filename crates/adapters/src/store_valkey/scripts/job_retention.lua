-- How long ended jobs are kept, as their producers asked.
local function forget(job)
  local key = K .. job
  call('DEL', key, key .. ':lock', key .. ':logs', key .. ':dependencies', key .. ':processed', key .. ':failed',
    key .. ':unsuccessful')
end

-- Removes ended jobs of one set: those older than an age, and those beyond a count.
local function trim_ended(outcome, ended, age, count, most)
  local gone = {}
  if age then
    gone = call('ZRANGEBYSCORE', K .. outcome, '-inf', '(' .. whole(ended - age * 1000), 'LIMIT', 0, most)
  end
  if count and count > 0 then
    for _, job in ipairs(call('ZREVRANGE', K .. outcome, count, count + most - 1)) do
      gone[#gone + 1] = job
    end
  end
  for _, job in ipairs(gone) do
    forget(job)
    call('ZREM', K .. outcome, job)
  end
end

-- Does what the job's options say about ended jobs; `opts` are its options where they are known.
local function retain_job(job, outcome, ended, opts)
  opts = opts or call('HGET', K .. job, 'opts')
  local field = outcome == 'completed' and 'removeOnComplete' or 'removeOnFail'
  if not opts or not string.find(opts, field, 1, true) then
    return
  end
  local fine, decoded = pcall(cjson.decode, opts)
  local wanted = fine and type(decoded) == 'table' and decoded[field]
  if wanted == true or wanted == 0 then
    call('ZREM', K .. outcome, job)
    forget(job)
  elseif type(wanted) == 'number' then
    trim_ended(outcome, tonumber(ended), nil, wanted, 1000)
  elseif type(wanted) == 'table' then
    if wanted.count == 0 then
      call('ZREM', K .. outcome, job)
      forget(job)
    else
      trim_ended(outcome, tonumber(ended), tonumber(wanted.age), tonumber(wanted.count), tonumber(wanted.limit) or 1000)
    end
  end
end
