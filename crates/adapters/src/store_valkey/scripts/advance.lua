-- Writes new states under leases. Each change is preceded by node and epoch; one answer each.
local answers = {}
for n = 1, tonumber(take()) do
  local node, epoch = '"' .. take() .. '"', take()
  local c = take_change()
  local h, why = read_head(c.id)
  if not h then
    answers[n] = why
  elseif h.epoch ~= epoch or (h.node ~= node and (h.home ~= node or h.last ~= c.digest)) then
    answers[n] = 'fenced'
  elseif h.last == c.digest then
    -- The same again: its answer was lost.
    answers[n] = tonumber(h.version)
  else
    answers[n] = write_record(h, c)
  end
end
answers[#answers + 1] = newest
return answers
