-- The layer over a bucket, as a captured CUDA graph runs it: every loop is as long as the bucket's arrays,
-- all three branches run, and nothing is read but tensors. What a step has less than the bucket is padding.
local ffi = require "ffi"
local checkpoints = require "gdnmeta.reference.checkpoints"
local conv1d = require "gdnmeta.reference.conv1d"
local delta_rule = require "gdnmeta.reference.delta_rule"
local row_map = require "gdnmeta.reference.row_map"
local array_of = require "gdnmeta.array_of"

local doubles, int32s = array_of "double", array_of "int32_t"
local TILE = 8 -- tokens of a conv1d program
local DECODE, PREFILL = 2, 3 -- token_class
local NUM_DECODES = 2 -- of live_counts
local NAN = 0 / 0
local ceil, min = math.ceil, math.min
local check = row_map.check

local M = {}

-- Inputs of one branch side, gathered, and what is computed from them.
local function new_side(l, tokens)
  local channels, heads = tokens * l.channels, tokens * l.heads
  return { x = doubles(channels), a = doubles(heads), b = doubles(heads), y = doubles(channels),
           g = doubles(heads), beta = doubles(heads) }
end

local function reserve(l, n)
  local tokens, s = n + 1, l.scratch -- the one after the last is the one that lists name on padding
  local values = tokens * l.heads * l.value_dim
  if not s or s.capacity < n then
    s = { capacity = n, at = int32s(tokens), spec = new_side(l, tokens), plain = new_side(l, tokens),
          out_spec = doubles(values), out_decode = doubles(values), out_prefill = doubles(values) }
    for i = 0, n do s.at[i] = i end
    l.scratch = s
  end
  for i = 0, values - 1 do s.out_spec[i], s.out_decode[i], s.out_prefill[i] = NAN, NAN, NAN end
  return s
end

-- Row `from` of an array with `width` columns, NaN where it is the token after the last one.
local function copy_row(to, row, source, from, width, n)
  for c = 0, width - 1 do to[row * width + c] = from < n and source[from * width + c] or NAN end
end

-- list: the batch's token of each of the side's; nil: as they come.
local function gather(l, side, list, name, x, a, b, n)
  for t = 0, n do
    local from = t < n and list and check(list[t], n, name, t) or t
    copy_row(side.x, t, x, from, l.channels, n)
    copy_row(side.a, t, a, from, l.heads, n)
    copy_row(side.b, t, b, from, l.heads, n)
    for c = 0, l.channels - 1 do side.y[t * l.channels + c] = NAN end
  end
end

local function enter(l, side) l.y, l.g, l.beta = side.y, side.g, side.beta end

local function bounds(starts, name, row, n)
  local last = check(starts[row + 1], n, name, row + 1)
  return check(starts[row], last, name, row), last
end

-- Speculative rows: conv1d, then the state after each token into the token's own slot.
local function speculative(l, meta, s, n)
  local starts, name, x, at = meta.spec_query_start_loc, "spec_query_start_loc", s.spec.x, s.at
  local slots, reads = meta.spec_state_indices_tensor, meta.spec_read_state_indices
  local shifts = meta.spec_conv_shift
  enter(l, s.spec)
  for row = 0, #starts - 2 do
    local first, last = bounds(starts, name, row, n)
    check(last - first, l.num_spec + 1, "tokens of spec row", row)
    l.pool:recall_window(l, reads[row], shifts[row])
    for k = 0, last - first - 1 do conv1d.token(l, x, at, first, k) end
    for k = 0, last - first - 1 do
      l.pool:write_window(l, slots:at(row, k), x, at, first, 1, l.width - 2 + last - first)
    end
  end
  delta_rule.gates(l, s.spec.a, s.spec.b, n)
  for row = 0, #starts - 2 do
    local first, last = bounds(starts, name, row, n)
    l.pool:recall_state(l, reads[row])
    for t = first, last - 1 do
      delta_rule.recurrent(l, at, t, t + 1, s.out_spec)
      l.pool:write_state(l, slots:at(row, t - first))
    end
  end
end

-- conv1d of all other rows: a program per tile, as many as the bucket may need.
local function convolve(l, meta, s, n, programs)
  local starts, name, x, at = meta.non_spec_query_start_loc, "non_spec_query_start_loc", s.plain.x, s.at
  local row_of, tile_of = meta.batch_ptr, meta.token_chunk_offset_ptr
  local slots = meta.non_spec_state_indices_tensor
  local reads, shifts = meta.non_spec_read_state_indices, meta.non_spec_conv_shift
  local num_decodes = meta.live_counts[NUM_DECODES]
  check(programs, #row_of, "programs of conv1d")
  for program = 0, programs - 1 do
    local row, tile = row_of[program], tile_of[program]
    if row >= 0 then -- -1: padding
      local first, last = bounds(starts, name, check(row, #slots - 1, "batch_ptr", program), n)
      check(tile, ceil((last - first) / TILE) - 1, "token_chunk_offset_ptr", program)
      if tile == 0 and meta.has_initial_state[row] then
        l.pool:read_window(l, reads[row], shifts[row])
      elseif tile == 0 then
        l.pool.fresh(l)
      end
      for k = tile * TILE, min(tile * TILE + TILE, last - first) - 1 do conv1d.token(l, x, at, first, k) end
      if tile == 0 then
        l.pool:write_window(l, slots[row], x, at, first, last - first, l.width - 1)
        checkpoints.window(l, meta, row - num_decodes, x, at, first)
      end
    end
  end
end

local function decodes(l, meta, s, n)
  local starts, slots, reads = meta.decode_query_start_loc, meta.decode_state_indices,
    meta.decode_read_state_indices
  for row = 0, #starts - 2 do
    local first, last = bounds(starts, "decode_query_start_loc", row, n)
    l.pool:recall_state(l, reads[row])
    delta_rule.recurrent(l, s.at, first, last, s.out_decode)
    l.pool:write_state(l, slots[row])
  end
end

-- A program per chunk, then the state that each row leaves. Padding names a row without tokens.
local function prefills(l, meta, s, n)
  local starts, name = meta.prefill_query_start_loc, "prefill_query_start_loc"
  local chunks, offsets, size = meta.chunk_indices, meta.chunk_offsets, l.state_size
  local count, rows = chunks.shape[1], #starts - 1
  local initial, reads, slots = meta.prefill_has_initial_state, meta.prefill_read_state_indices,
    meta.prefill_state_indices
  local function enter_row(row)
    if initial[row] then l.pool:read_state(l, reads[row]) else l.pool.fresh(l) end
  end
  local function enter_chunk(row, chunk, place)
    if chunk == 0 then enter_row(row) else ffi.copy(l.state, l.between + (place - 1) * size, 8 * size) end
  end
  l:reserve_between(count)
  for program = 0, count - 1 do
    local row = check(chunks:at(program, 0), rows - 1, "chunk_indices[:, 0]", program)
    local chunk = chunks:at(program, 1)
    local first, last = bounds(starts, name, row, n)
    if last > first then
      check(chunk, ceil((last - first) / delta_rule.CHUNK) - 1, "chunk_indices[:, 1]", program)
      local place = check(offsets[row] + chunk, count - 1, "place of chunk", program)
      local from = first + chunk * delta_rule.CHUNK
      enter_chunk(row, chunk, place)
      if checkpoints.state(l, meta, row, chunk, place, s.at, from, s.out_prefill) then
        enter_chunk(row, chunk, place)
      end
      l.form(l, s.at, from, min(from + delta_rule.CHUNK, last), s.out_prefill)
      ffi.copy(l.between + place * size, l.state, 8 * size)
    end
  end
  for row = 0, rows - 1 do
    bounds(starts, name, row, n)
    local last = offsets[row + 1] - 1 -- place of the row's last chunk
    if last < offsets[row] then enter_row(row) else ffi.copy(l.state, l.between + last * size, 8 * size) end
    l.pool:write_state(l, slots[row])
  end
end

-- Outputs back to the order of the batch. What lists name on padding is the token after the last one.
local function scatter(l, meta, s, out, n)
  local values, classes = l.heads * l.value_dim, meta.token_class
  local spec, plain = meta.spec_token_indx, meta.non_spec_token_indx
  for t = 0, n - 1 do
    local to = spec and spec[t]
    if spec and to < n then ffi.copy(out + to * values, s.out_spec + t * values, 8 * values) end
    to = plain and plain[t] or not plain and t
    local class = to < n and classes[to]
    local from = class == DECODE and s.out_decode or class == PREFILL and s.out_prefill
    if from then ffi.copy(out + to * values, from + t * values, 8 * values) end
  end
end

--- Run a step of a bucket. Inputs of padding tokens may be NaN; their outputs are.
---@param l gdnmeta.Layer
---@param meta table a builder's metadata, or its group(), under full_cuda_graph = "mixed"
---@param x ffi.cdata* double [T, channels]
---@param a ffi.cdata* double [T, heads]
---@param b ffi.cdata* double [T, heads]
---@param out ffi.cdata* double [T, heads, value_dim], NaN before
function M.forward(l, meta, x, a, b, out)
  local n = #meta.token_class
  local s, y, g, beta = reserve(l, n), l.y, l.g, l.beta
  if meta.spec_query_start_loc then
    gather(l, s.spec, meta.spec_token_indx, "spec_token_indx", x, a, b, n)
    speculative(l, meta, s, n)
  end
  gather(l, s.plain, meta.non_spec_token_indx, "non_spec_token_indx", x, a, b, n)
  enter(l, s.plain)
  convolve(l, meta, s, n, ceil(n / TILE) + #meta.non_spec_state_indices_tensor - 1)
  delta_rule.gates(l, s.plain.a, s.plain.b, n)
  decodes(l, meta, s, n)
  prefills(l, meta, s, n)
  scatter(l, meta, s, out, n)
  l.y, l.g, l.beta = y, g, beta
end

return M
