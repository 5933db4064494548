-- States that prefills keep before their end, under rules strict: the delta rule's state, which the program
-- of the chunk that it enters or crosses writes, and the conv1d window before the same token. Both go to the
-- checkpoint's slot, so that a sequence may begin there.
local delta_rule = require "gdnmeta.reference.delta_rule"

local floor = math.floor
local M = {}

--- The window of a prefill's checkpoint, while l.history is what came before the row.
---@param l gdnmeta.Layer
---@param meta table
---@param row integer of the prefill_* tensors; below 0: a decode
---@param x ffi.cdata* inputs
---@param at ffi.cdata* places of tokens in x
---@param first integer the row's first token in `at`
function M.window(l, meta, row, x, at, first)
  local offsets = meta.checkpoint_offsets
  if row < 0 or not offsets or not meta.checkpoint_chunk or offsets[row] == 0 then return end
  l.pool:write_window(l, meta.checkpoint_state_indices[row], x, at, first, offsets[row], l.width - 1)
end

--- The state of a prefill's checkpoint, if it is this chunk's. l.state is what the chunk enters with.
---@param l gdnmeta.Layer
---@param meta table
---@param row integer of the prefill_* tensors
---@param chunk integer of the row
---@param place integer of the chunk among all prefills'
---@param at ffi.cdata* places of tokens in y
---@param from integer the chunk's first token in `at`
---@param out ffi.cdata* outputs; those of the chunk may be written
---@return boolean changed l.state is not what it was
function M.state(l, meta, row, chunk, place, at, from, out)
  local chunks, offsets = meta.checkpoint_chunk, meta.checkpoint_offsets
  if not chunks then return false end
  local slot = meta.checkpoint_state_indices[row]
  if chunks[row] == place then
    l.pool:write_state(l, slot)
    return false
  end
  local into = offsets[row] - chunk * delta_rule.CHUNK
  if chunks[row] >= 0 or offsets[row] == 0 or floor(into / delta_rule.CHUNK) ~= 0 then return false end
  l.form(l, at, from, from + into, out)
  l.pool:write_state(l, slot)
  return true
end

return M
