-- Writes what must be there before anything else, also when memory is full: what the queue's other users expect, and the
-- secret by which nodes know each other. Returns that secret.
local version, events, wanted, secret = take(), take(), take(), take()
call('HSETNX', K .. 'meta', 'version', version)
call(wanted == '1' and 'HSET' or 'HSETNX', K .. 'meta', 'opts.maxLenEvents', events)
call('SETNX', O .. 'peer-secret', secret)
return call('GET', O .. 'peer-secret')
