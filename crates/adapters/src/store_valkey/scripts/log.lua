-- Logs facts that belong to no change.
local first, count = take_facts()
log_facts(first, count, '', 0)
return newest
