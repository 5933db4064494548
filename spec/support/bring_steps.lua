-- Random strict steps whose rows read elsewhere than they write, random pools, and what must be in these
-- pools once states are brought: said again from gdnmeta.h's table, byte by byte.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local array_of = require "gdnmeta.array_of"

local random, floor, max = math.random, math.floor, math.max
local bytes_t, byte_p = array_of "uint8_t", ffi.typeof "uint8_t *"

local M = {}

local function pick(list) return list[random(#list)] end
local function chance(p) return random() < p end

local SHARED, BLOCK, COLUMNS = 9, 4, 6 -- slots that many rows read; tokens and columns of mode align

--- A builder for such steps, and what is known of it.
function M.builder(device, rows)
  local c = { S = pick { 0, 1, 2, 3 }, groups = random(3), mode = pick { "none", "none", "all", "align" },
              rows = rows or random(14) }
  c.width = c.mode == "align" and COLUMNS + c.S or c.S + 1 + random(0, 2)
  c.num_slots = 1 + SHARED + c.rows * (c.S + 1)
  c.mixed = chance(0.3)
  c.builder = assert(gdn.builder {
    device = device, num_speculative_tokens = c.S, num_groups = c.groups, max_num_seqs = c.rows,
    max_rows = c.rows * (c.S + 1), max_num_batched_tokens = 64 * c.rows + 64, mamba_cache_mode = c.mode,
    mamba_block_size = BLOCK, max_blocks_per_row = c.width, num_slots = c.num_slots,
    full_cuda_graph = c.mixed and "mixed" or true,
    pad_slot_id = -random(0, 1), query_start_loc_dtype = pick { "int32", "int64" },
  })
  c.batch = assert(c.builder:batch())
  return c
end

-- Query length, tokens computed, drafts, prompt done.
local KINDS = {
  decode = function(limit) return 1, random(limit - 1), -1, true end,
  spec = function(limit, S)
    local drafts = chance(0.6) and S or random(0, S)
    return drafts + 1, random(limit - drafts - 1), drafts, true
  end,
  extend = function(limit, S) return S + 2, random(limit - S - 2), -1, false end,
  fresh = function(limit) return random(limit), 0, -1, false end,
}

local STEPS = { { "decode" }, { "spec" }, { "spec", "decode" }, { "decode", "extend", "fresh" }, { "fresh" },
                { "spec", "decode", "extend", "fresh" } }

-- A row's blocks in one group. The state it has is in a slot of its own, or in one that others read too.
local function blocks_of(c, row, free)
  local first = c.mode == "align" and floor((row.seq_len - 1) / BLOCK) or 0
  local written, blocks = max(row.drafts, 0), {}
  for column = 0, c.width - 1 do
    if column >= first and column <= first + written then
      blocks[column + 1] = table.remove(free)
    else
      blocks[column + 1] = column == row.read and random(SHARED) or chance(0.3) and 0 or random(SHARED)
    end
  end
  return blocks
end

local function add(c, kind, free)
  local limit = c.mode == "align" and COLUMNS * BLOCK or 40
  local q, computed, drafts, done = KINDS[kind](limit, c.S)
  local row = { query_len = q, seq_len = q + computed, drafts = drafts, prompt_done = done,
                accepted = random(c.S + 1), blocks = {} }
  row.read = row.accepted - 1
  if c.mode == "align" or chance(0.2) then row.read = random(0, c.width - 1) end
  if computed == 0 then row.read = -1 end
  for g = 1, c.groups do row.blocks[g] = blocks_of(c, row, free[g]) end
  row.read_column, row.read = row.read, nil
  assert(c.batch:add(row))
end

local function build(c, stream)
  local kinds, free, counts = pick(STEPS), {}, {}
  for g = 1, c.groups do
    free[g] = {}
    for slot = SHARED + 1, c.num_slots - 1 do
      local at = random(#free[g] + 1)
      table.insert(free[g], at, slot)
    end
  end
  c.batch:clear()
  for i = 1, random(c.rows) do
    local kind = kinds[(i - 1) % #kinds + 1]
    if kind == "spec" and c.S == 0 then kind = "decode" end
    counts[kind] = (counts[kind] or 0) + 1
  end
  for _, kind in ipairs { "spec", "decode", "extend", "fresh" } do
    for _ = 1, counts[kind] or 0 do add(c, kind, free) end
  end
  local rows = c.batch.num_rows
  if c.mixed or chance(0.5) then assert(c.batch:pad(rows + random(0, c.rows - rows), 64 * c.rows)) end
  return assert(c.builder:build(c.batch, stream))
end

--- Pools in one buffer: { size, offsets, and the options of bring_* }. Those of states may lie in each
--- other's gaps.
function M.states(c)
  local p = { slot_bytes = pick { 1, 3, 8, 10, 24, 48, 200, 16400, 33000 }, windows = false }
  if c.rows > 14 then p.slot_bytes = pick { 4, 16 } end
  local n, gap = random(3), pick { 0, 0, 1, 16 }
  local pages, aligned = chance(0.5), pick { 1, 4, 16 }
  p.slot_stride = (pages and n or 1) * p.slot_bytes + gap
  p.offsets = {}
  local apart = pages and p.slot_bytes or c.num_slots * p.slot_stride
  for i = 1, n do p.offsets[i] = aligned + (i - 1) * apart end
  p.size = p.offsets[n] + c.num_slots * p.slot_stride + 16
  return p
end

function M.windows(c)
  local element = pick { 1, 2, 4, 8 }
  local channels, length = pick { 1, 3, 8, 257, 300 }, c.S + random(1, 20)
  if c.rows > 14 then channels = 3 end
  local gap, n = pick { 0, 0, 1, 5 }, random(2)
  local inner = pick { { length, 1 }, { 1, channels }, { length + 2, 1 }, { 2, 2 * channels + 1 } }
  local span = (channels - 1) * inner[1] + (length - 1) * inner[2] + 1 + gap
  local p = { windows = true, channels = channels, length = length, element_bytes = element,
              strides = { span, inner[1], inner[2] }, offsets = {} }
  for i = 1, n do p.offsets[i] = element * (1 + (i - 1) * c.num_slots * span) end
  p.size = p.offsets[n] + element * c.num_slots * span + 16
  if c.mode ~= "align" or chance(0.7) then p.windows_in = pick { "first", "every", nil } end
  return p
end

--- Bytes at random.
function M.noise(size)
  local bytes = bytes_t(size)
  for i = 0, size - 1 do bytes[i] = random(0, 255) end
  return bytes
end

-- { from, to, shift } of each row that has something to bring.
local function moves_of(c, meta, p)
  local moves = {}
  local function real(slot) return slot > 0 and slot < c.num_slots end
  local function move(from, to, shift, has)
    if real(has or from) and real(to) and (from ~= to or shift > 0) then
      moves[#moves + 1] = { from, to, shift }
    end
  end
  local in_first = p.windows_in == "first" or p.windows_in == nil and c.mode ~= "align"
  local function plain(read, first, shift)
    if not p.windows then return move(read, first, 0) end
    move(shift > 0 and in_first and first or read, first, shift, read)
  end
  local write = meta.non_spec_state_indices_tensor
  for i = 0, write and #write - 1 or -1 do
    plain(meta.non_spec_read_state_indices[i], write[i], meta.non_spec_conv_shift[i])
  end
  local spec = meta.spec_state_indices_tensor
  for i = 0, spec and p.spec_rows ~= "leave" and spec.rows - 1 or -1 do
    local read, a, first = meta.spec_read_state_indices[i], meta.num_accepted_tokens[i], spec:at(i, 0)
    if p.spec_rows == "first" then
      plain(read, first, meta.spec_conv_shift[i])
    elseif spec:at(i, a - 1) ~= read and p.windows then
      move(read, first, 0)
    elseif spec:at(i, a - 1) ~= read
      and a <= meta.spec_query_start_loc[i + 1] - meta.spec_query_start_loc[i] then
      move(read, spec:at(i, a - 1), 0)
    end
  end
  return moves
end

local function bring_window(p, base, from, to, shift, before, after)
  local s, element = p.strides, p.element_bytes
  local last = p.length - 1 - shift
  for channel = 0, p.channels - 1 do
    for t = 0, last do
      local source = base + element * (from * s[1] + channel * s[2] + (t + shift) * s[3])
      local target = base + element * (to * s[1] + channel * s[2] + t * s[3])
      for byte = 0, element - 1 do after[target + byte] = before[source + byte] end
    end
  end
end

--- What `before` becomes; how many moves that took, and how many of them within a slot.
function M.brought(c, meta, p, before)
  local after, within = bytes_t(p.size), 0
  ffi.copy(after, before, p.size)
  local moves = moves_of(c, meta, p)
  for _, m in ipairs(moves) do
    within = within + (m[1] == m[2] and 1 or 0)
    for _, base in ipairs(p.offsets) do
      if p.windows then
        bring_window(p, base, m[1], m[2], m[3], before, after)
      else
        ffi.copy(after + base + m[2] * p.slot_stride, before + base + m[1] * p.slot_stride, p.slot_bytes)
      end
    end
  end
  return after, #moves, within
end

--- Bring, from and to memory at `address`.
function M.bring(c, p, group, address, stream)
  local pools = {}
  for i, offset in ipairs(p.offsets) do pools[i] = ffi.cast(byte_p, address) + offset end
  local o = { group = group, pool = #pools == 1 and pools[1] or pools, spec_rows = p.spec_rows }
  local names = p.windows and { "channels", "length", "element_bytes", "strides", "windows_in" }
    or { "slot_bytes", "slot_stride" }
  for _, name in ipairs(names) do o[name] = p[name] end
  return c.builder[p.windows and "bring_windows" or "bring_states"](c.builder, o, stream)
end

--- A random step, and the pools p. memory: { write(bytes, size), read(size), address }, or nil: the host's.
---@return number moves, number within a slot
function M.check(c, p, where, memory, stream)
  local meta = build(c, stream)
  p.spec_rows = pick { "accepted", "first", "leave", nil }
  local group, before = random(0, c.groups - 1), M.noise(p.size)
  local want, moves, within = M.brought(c, meta:group(group), p, before)
  local got
  if memory then
    memory.write(before, p.size)
    assert(M.bring(c, p, group, memory.address, stream))
    got = memory.read(p.size)
  else
    got = bytes_t(p.size)
    ffi.copy(got, before, p.size)
    assert(M.bring(c, p, group, got, stream))
  end
  for i = 0, p.size - 1 do
    if got[i] ~= want[i] then
      error(("%s: %s: byte %d is %d, want %d (it was %d)"):format(where, p.windows and "windows" or "states",
        i, got[i], want[i], before[i]), 0)
    end
  end
  return moves, within
end

return M
