-- The index of lists, see `search.rs`: rows of 1024 records a block, column by column, and their ids beside it.
local ROWS = 1024
-- The lengths of a whole block. Written with its first row (the very first is nobody's): a string that grows is given twice the room.
local INDEX_BITS, IDS_BYTES = 512 * ROWS, 16 * ROWS

local function index_row(seq, columns, id)
  local block = whole(math.floor(seq / ROWS))
  local row = seq % ROWS
  local bits = {}
  for column in string.gmatch(columns, '%d+') do
    local n = #bits
    bits[n + 1], bits[n + 2], bits[n + 3], bits[n + 4] = 'SET', 'u1', whole(column * ROWS + row), '1'
  end
  if row == 0 or seq == 1 then
    call('SETBIT', O .. 'index:' .. block, INDEX_BITS - 1, 0)
    call('SETRANGE', O .. 'ids:' .. block, IDS_BYTES - 1, '\0')
  end
  call('BITFIELD', O .. 'index:' .. block, unpack(bits))
  call('SETRANGE', O .. 'ids:' .. block, row * 16, id)
end

-- A record is gone. Its bits stay until its whole block is.
local function unindex_row(seq)
  local number = math.floor(seq / ROWS)
  local block, row = whole(number), seq % ROWS
  local ids = O .. 'ids:' .. block
  if call('EXISTS', ids) == 0 then
    return
  end
  call('SETRANGE', ids, row * 16, string.rep('\0', 16))
  local first, last = number * ROWS, '(' .. whole((number + 1) * ROWS)
  for _, status in ipairs(STATUSES) do
    if call('ZRANGEBYSCORE', O .. 'agents:' .. status, whole(first), last, 'LIMIT', 0, 1)[1] then
      return
    end
  end
  -- The block that is being filled has rows to come.
  if tonumber(call('GET', O .. 'admitted') or 0) >= (number + 1) * ROWS then
    call('DEL', ids, O .. 'index:' .. block)
  end
end
