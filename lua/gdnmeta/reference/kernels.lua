-- The kernels of a layer as loops over their programs: each takes from the metadata what the kernel of that
-- kind takes on a GPU. A step runs the convolutions first, then the delta rule.
local checkpoints = require "gdnmeta.reference.checkpoints"
local conv1d = require "gdnmeta.reference.conv1d"
local delta_rule = require "gdnmeta.reference.delta_rule"
local row_map = require "gdnmeta.reference.row_map"

local TILE = 8 -- tokens of a conv1d program
local ceil, min = math.ceil, math.min

local M = {}

local function convolve(l, x, half, first, from, to)
  for k = from, to - 1 do conv1d.token(l, x, half.at, first, k) end
end

--- Speculative rows. The window goes to every slot that the row writes, whole: which drafts are accepted is
--- not known yet, and the step after this one shifts to where the row then stands.
function M.conv_spec(l, meta, half, x)
  local slots = meta.spec_state_indices_tensor
  for s = 0, half.rows - 1 do
    local first, last = row_map.bounds(half, s)
    local slot, shift = row_map.spec_past(meta, s)
    row_map.check(last - first, l.num_spec + 1, "tokens of spec row", s)
    l.pool:recall_window(l, slot, shift)
    convolve(l, x, half, first, 0, last - first)
    for k = 0, last - first - 1 do
      l.pool:write_window(l, slots:at(s, k), x, half.at, first, 1, l.width - 2 + last - first)
    end
  end
end

--- Decodes of a step without prefills, padding included.
function M.conv_decodes(l, meta, half, x)
  local slots = meta.non_spec_state_indices_tensor
  for row = 0, half.rows - 1 do
    local first, last = row_map.bounds(half, row)
    local slot, shift = row_map.past(meta, row)
    l.pool:recall_window(l, slot, shift)
    convolve(l, x, half, first, 0, last - first)
    l.pool:write_window(l, slots[row], x, half.at, first, last - first, l.width - 1)
  end
end

--- All non-speculative rows of a step with prefills: a program for each tile of a row. The program of the
--- first tile reads the row's past and writes the row's window.
function M.conv_tiles(l, meta, half, x)
  local row_of, tile_of, slots = meta.batch_ptr, meta.token_chunk_offset_ptr,
    meta.non_spec_state_indices_tensor
  local initial = meta.has_initial_state
  local first_prefill = half.rows - #meta.prefill_state_indices
  for program = 0, #row_of - 1 do
    local row, tile = row_of[program], tile_of[program]
    if row < 0 then break end -- -1: no more programs
    local first, last = row_map.bounds(half, row)
    row_map.check(tile, ceil((last - first) / TILE) - 1, "token_chunk_offset_ptr", program)
    if tile == 0 and initial[row] then
      l.pool:read_window(l, row_map.past(meta, row))
    elseif tile == 0 then
      l.pool.fresh(l)
    end
    convolve(l, x, half, first, tile * TILE, min(tile * TILE + TILE, last - first))
    if tile == 0 then
      l.pool:write_window(l, slots[row], x, half.at, first, last - first, l.width - 1)
      checkpoints.window(l, meta, row - first_prefill, x, half.at, first)
    end
  end
end

--- Speculative rows: the state after each token goes to the token's own slot.
function M.delta_spec(l, meta, half, out)
  local slots = meta.spec_state_indices_tensor
  for s = 0, half.rows - 1 do
    local first, last = row_map.bounds(half, s)
    local _, _, slot = row_map.spec_past(meta, s)
    l.pool:recall_state(l, slot)
    for n = first, last - 1 do
      delta_rule.recurrent(l, half.at, n, n + 1, out)
      l.pool:write_state(l, slots:at(s, n - first))
    end
  end
end

--- The first `count` non-speculative rows.
function M.delta_decodes(l, meta, half, count, out)
  local slots = meta.non_spec_state_indices_tensor
  for row = 0, count - 1 do
    local first, last = row_map.bounds(half, row)
    local slot = row_map.past(meta, row)
    l.pool:recall_state(l, slot)
    delta_rule.recurrent(l, half.at, first, last, out)
    l.pool:write_state(l, slots[row])
  end
end

local function enter_chunk(l, half, row, chunk, place)
  local size = l.state_size
  if chunk > 0 then
    for i = 0, size - 1 do l.state[i] = l.between[(place - 1) * size + i] end
  elseif half.has_initial_state[row] then
    l.pool:read_state(l, half.read[row])
  else
    l.pool.fresh(l)
  end
end

--- Prefills: a program for each chunk of a row. The state that a chunk leaves stands at
--- chunk_offsets[row] + chunk of l.between, where the next chunk finds it.
function M.delta_chunks(l, meta, half, out)
  local chunks, offsets, size = meta.chunk_indices, meta.chunk_offsets, l.state_size
  local count = chunks.shape[1]
  l:reserve_between(count)
  for program = 0, count - 1 do
    local row, chunk = chunks:at(program, 0), chunks:at(program, 1)
    local place, first, last = offsets[row] + chunk, row_map.bounds(half, row)
    row_map.check(chunk, ceil((last - first) / delta_rule.CHUNK) - 1, "chunk_indices[:, 1]", program)
    row_map.check(place, count - 1, "place of chunk", program)
    local from = first + chunk * delta_rule.CHUNK
    enter_chunk(l, half, row, chunk, place)
    if checkpoints.state(l, meta, row, chunk, place, half.at, half.base + from, out) then
      enter_chunk(l, half, row, chunk, place)
    end
    l.form(l, half.at, half.base + from, half.base + min(from + delta_rule.CHUNK, last), out)
    for i = 0, size - 1 do l.between[place * size + i] = l.state[i] end
    if place + 1 == offsets[row + 1] then l.pool:write_state(l, half.write[row]) end
  end
end

return M
