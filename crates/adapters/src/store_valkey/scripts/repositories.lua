-- How many agents of each repository are leased, counted from the leases themselves: a sum that is kept would go wrong with
-- every node of another build and every script that is broken off.
local function repository_of(needs)
  return needs and match(needs, '^(r%x+)')
end

local function count_leased()
  local counts = {}
  for _, id in ipairs(call('ZRANGE', O .. 'leased', 0, -1)) do
    local needs = call('HGET', K .. id, 'needs')
    if not needs then
      -- The job of another producer has a name of its own.
      local h = read_head(id)
      needs = h and call('HGET', K .. job_of(h), 'needs')
    end
    local repository = repository_of(needs)
    if repository then
      counts[repository] = (counts[repository] or 0) + 1
    end
  end
  return counts
end
