-- Lists agents whose lease has run out, oldest admission first.
local most, lapsed = tonumber(take()), {}
each_lease(function(h, _, holder)
  if not holder then
    lapsed[#lapsed + 1] = h.id
  end
  return #lapsed >= most
end)
return { whole(now_ms()), lapsed }
