-- Fails a job of another producer, unless it is somebody's by now.
local job, why, stack, now = take(), take(), take(), whole(time_of(take()))
local found = classify_external(job)
if not found or not (found[1] == 'submitted' or found[1] == 'retried' or found[1] == 'doomed') then
  return 0
end
refuse(job, why, stack, now)
call('ZREM', O .. 'others', job)
return 1
