-- Pauses dispatch or lets it go on; the queue's own switch is the truth. An empty reason record means: go on.
local record = take()
local first, count = take_facts()
if (paused ~= false) == (record ~= '') then
  return 0
end
if record ~= '' then
  call('HSET', K .. 'meta', 'paused', '1')
  call('SET', O .. 'pause', record)
  call('DEL', K .. 'marker')
  -- Where it stands among the events tells what another client resumes later from what was resumed before.
  call('HSET', O .. 'others:seen', 'pause', event('paused'))
else
  call('HDEL', K .. 'meta', 'paused')
  call('DEL', O .. 'pause')
  paused = false
  if call('ZCARD', K .. 'prioritized') > 0 or call('LLEN', K .. 'wait') > 0 then
    wake()
  end
  wake_when_due()
  event('resumed')
end
log_facts(first, count, '', 0)
call('PUBLISH', O .. 'stir', 'pause')
return newest
