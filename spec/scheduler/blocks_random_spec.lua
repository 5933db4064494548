-- Blocks of an attention cache under random calls, right and wrong ones: status, what is handed out, and all
-- that can be asked afterwards agree with a list.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local beside = require "spec.support.beside_a_model"

local near, list_of = beside.near, beside.list_of
local OK, EINVAL, ECAP = 0, -1, -3
local UNTOUCHED = -77
local int32s = gdn.array_of "int32_t"

local Blocks = {}
Blocks.__index = Blocks

local NUM_BLOCKS, SIZE, ROWS, COLUMNS, STEPS, TOKENS = 9, 3, 3, 4, 4, 16

local function blocks(builder)
  local out, config = ffi.new "gdn_kv *[1]", ffi.new("gdn_kv_config", NUM_BLOCKS, SIZE, ROWS, COLUMNS, STEPS)
  assert(lib.gdn_kv_new(builder.handle, config, out) == OK)
  local model = { handle = ffi.gc(out[0], lib.gdn_kv_free), free = {}, holders = {} }
  for block = NUM_BLOCKS - 1, 0, -1 do
    model.free[#model.free + 1], model.holders[block] = block, 0
  end
  for row = 0, ROWS - 1 do model[row] = {} end
  return setmetatable(model, Blocks)
end

function Blocks:pop()
  local block = table.remove(self.free)
  self.holders[block] = 1
  return block
end

function Blocks:lose(block)
  if self.holders[block] == 0 then return end
  self.holders[block] = self.holders[block] - 1
  if self.holders[block] == 0 then self.free[#self.free + 1] = block end
end

function Blocks:are_held(list)
  for _, block in ipairs(list) do
    if (self.holders[block] or 0) < 1 then return false end
  end
  return true
end

local MOVES = {
  function(m, h)
    local row, columns = near(0, ROWS - 1), near(0, COLUMNS)
    local got, own = tonumber(lib.gdn_kv_extend(h, row, columns)), m[row]
    if not own or columns < 0 or columns > COLUMNS then return EINVAL, got end
    if columns - #own > #m.free then return ECAP, got end
    while #own < columns do own[#own + 1] = m:pop() end
    return OK, got
  end,
  function(m, h, list)
    local row = near(0, ROWS - 1)
    local got, own = tonumber(lib.gdn_kv_share(h, row, int32s(#list, list), #list)), m[row]
    if not own or #own > 0 or #list > COLUMNS or not m:are_held(list) then return EINVAL, got end
    for c, block in ipairs(list) do own[c], m.holders[block] = block, m.holders[block] + 1 end
    return OK, got
  end,
  function(m, h, list)
    local got = tonumber(lib.gdn_kv_hold(h, int32s(#list, list), #list))
    if not m:are_held(list) then return EINVAL, got end
    for _, block in ipairs(list) do m.holders[block] = m.holders[block] + 1 end
    return OK, got
  end,
  function(m, h)
    local n, out, given = near(0, 3), int32s(8), {}
    local got = tonumber(lib.gdn_kv_take(h, n, out))
    if n < 0 then return EINVAL, got end
    if n > #m.free then return ECAP, got end
    for i = 1, n do given[i] = m:pop() end
    return OK, got, given, list_of(out, n)
  end,
  function(m, h, list)
    local got = tonumber(lib.gdn_kv_drop(h, int32s(#list, list), #list))
    -- A row keeps what it has: nobody drops it for the row.
    if not m:are_held(list) then return EINVAL, got end
    for _, block in ipairs(list) do m:lose(block) end
    return OK, got
  end,
  function(m, h)
    local row = near(0, ROWS - 1)
    local got, own = tonumber(lib.gdn_kv_clear(h, row)), m[row]
    if not own then return EINVAL, got end
    while #own > 0 do m:lose(table.remove(own)) end
    return OK, got
  end,
  function(m, h)
    local step, n, padded = near(0, STEPS - 1), math.random(0, 2), near(0, TOKENS)
    local rows, lengths, ends, want, status = {}, {}, {}, {}, OK
    for i = 1, n do
      rows[i], ends[i] = near(0, ROWS - 1), near(0, SIZE * COLUMNS)
      lengths[i] = near(0, math.min(5, math.max(ends[i], 0)))
    end
    local r, l, e = int32s(2, rows), int32s(2, lengths), int32s(2, ends)
    local places = ffi.cast("int64_t *", lib.gdn_kv_mapping(h, step))
    for t = 0, places ~= nil and TOKENS - 1 or -1 do places[t] = UNTOUCHED end
    local got = tonumber(lib.gdn_kv_map(h, step, n, r, l, e, padded))
    if step < 0 or step >= STEPS then return EINVAL, got end
    if padded < 0 or padded > TOKENS then return ECAP, got end
    for i = 1, n do
      local own, length, last = m[rows[i]], lengths[i], ends[i]
      local is_right = own and length >= 0 and length <= last and last <= #own * SIZE
      if not is_right or #want + length > padded then return EINVAL, got end
      for at = last - length, last - 1 do
        want[#want + 1] = own[math.floor(at / SIZE) + 1] * SIZE + at % SIZE
      end
    end
    while #want < padded do want[#want + 1] = -1 end
    for t = padded + 1, TOKENS do want[t] = UNTOUCHED end
    return status, got, want, list_of(places, TOKENS)
  end,
}

-- What something holds beside rows may be dropped, so a block of a row alone never is.
local function some_blocks(m, is_drop)
  local list, in_rows, seen = {}, {}, {}
  for row = 0, ROWS - 1 do
    for _, block in ipairs(m[row]) do in_rows[block] = (in_rows[block] or 0) + 1 end
  end
  for _ = 1, math.random(0, is_drop and 2 or COLUMNS + 1) do
    local block = math.random(9) == 1 and near(0, NUM_BLOCKS - 1) or math.random(0, NUM_BLOCKS - 1)
    seen[block] = (seen[block] or 0) + 1
    local is_spare = (m.holders[block] or 0) - (in_rows[block] or 0) >= seen[block]
    if not is_drop or is_spare or (m.holders[block] or 0) == 0 then list[#list + 1] = block end
  end
  return list
end

local function blocks_move(m)
  local what = math.random(#MOVES)
  return MOVES[what](m, m.handle, some_blocks(m, what == 5))
end

local function blocks_state(m)
  local h, want, got = m.handle, {}, {}
  local function put(wanted, is) want[#want + 1], got[#got + 1] = wanted, tonumber(is) end
  put(#m.free, lib.gdn_kv_available(h))
  for block = -1, NUM_BLOCKS do put(m.holders[block] or 0, lib.gdn_kv_holders(h, block)) end
  for row = -1, ROWS do
    local own, sole = m[row] or {}, 0
    for _, block in ipairs(own) do sole = sole + (m.holders[block] == 1 and 1 or 0) end
    put(#own, lib.gdn_kv_length(h, row))
    put(sole, lib.gdn_kv_sole(h, row))
    for c = 1, m[row] and COLUMNS or 0 do put(own[c] or 0, lib.gdn_kv_table(h)[row * COLUMNS + c - 1]) end
  end
  for step = -1, STEPS do
    local is_one = step >= 0 and step < STEPS
    assert.are.equal(is_one, lib.gdn_kv_mapping(h, step) ~= nil)
  end
  return want, got
end

describe("Blocks under random calls", function()
  it("are held by whom a list says", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = TOKENS })
    beside.agree(blocks(builder), blocks_move, blocks_state)
    builder:close()
  end)
end)
