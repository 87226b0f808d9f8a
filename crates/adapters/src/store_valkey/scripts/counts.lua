-- The sums of the queue and of the agents, all of one moment.
local due = call('ZCOUNT', K .. 'delayed', 0, whole((time_of(take()) + 1) * 4096 - 1))
return {
  call('LLEN', K .. 'wait') + call('ZCARD', K .. 'prioritized') + due,
  call('ZCARD', K .. 'delayed') - due,
  call('ZCARD', O .. 'leased'),
  call('ZCARD', O .. 'agents:completed'),
  call('ZCARD', O .. 'agents:failed'),
  call('ZCARD', O .. 'agents:killed'),
  call('ZCARD', O .. 'dead'),
}
