-- Reads a page of each of several indexes, newest first, all of one moment.
local top, size = take(), take()
local pages = {}
for n = 1, #ARGV - 2 do
  pages[n] = call('ZREVRANGEBYSCORE', O .. take(), top, '-inf', 'WITHSCORES', 'LIMIT', 0, size)
end
return pages
