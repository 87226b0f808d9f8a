-- The number of leased agents of each of these repositories, in their order.
local counts, answers = count_leased(), {}
for n = 1, tonumber(take()) do
  answers[n] = counts[take()] or 0
end
return answers
