-- The state pool of a layer. A slot holds what a sequence needs to go on: a window of conv1d inputs and the
-- delta rule's state. Nothing clears a slot between owners, so that a recycled one holds what it held; one
-- that was never written, and the null slot, hold NaN, so that a wrong read is visible.
local conv1d = require "gdnmeta.reference.conv1d"
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"
local NAN = 0 / 0
local MOST = 2 ^ 28 - 1 -- numbers of an array: LuaJIT makes none of 2 GiB

local Pool = {}
Pool.__index = Pool

--- Begin from nothing.
function Pool.fresh(l)
  for i = 0, (l.width - 1) * l.channels - 1 do l.history[i] = 0 end
  for i = 0, l.state_size - 1 do l.state[i] = 0 end
end

-- Where a slot's part of an array begins. A kernel would read on; here it is named.
local function place(self, slot, size)
  if slot < 0 or slot >= self.num_slots then
    error(("gdnmeta.reference: slot %d, want 0 .. %d"):format(slot, self.num_slots - 1), 0)
  end
  return slot * size
end

--- The inputs before a row's next token: width - 1 of the window, `shift` tokens into it.
function Pool:read_window(l, slot, shift)
  if shift < 0 or shift > l.num_spec then
    error(("gdnmeta.reference: conv shift %d, want 0 .. %d"):format(shift, l.num_spec), 0)
  end
  local from = place(self, slot, self.window_size) + shift * l.channels
  for i = 0, (l.width - 1) * l.channels - 1 do l.history[i] = self.windows[from + i] end
end

--- Is this the slot of no row, which kernels skip? 0, or -1 where that is the builder's pad_slot_id.
function Pool.is_null(slot) return slot == 0 or slot == -1 end

--- What a kernel without has_initial_state starts from: the slot's window; nothing where it is the null slot,
--- as in padding and captures.
function Pool:recall_window(l, slot, shift)
  if self.is_null(slot) then self.fresh(l) else self:read_window(l, slot, shift) end
end

--- The same of the state.
function Pool:recall_state(l, slot)
  if self.is_null(slot) then self.fresh(l) else self:read_state(l, slot) end
end

--- `count` inputs from place `from` on of the history and the row's tokens, end to end. What is written to
--- the null slot is lost.
function Pool:write_window(l, slot, x, at, first, from, count)
  if self.is_null(slot) then return end
  local to = place(self, slot, self.window_size)
  conv1d.window(l, x, at, first, from, self.windows, to, count)
end

function Pool:read_state(l, slot)
  local from = place(self, slot, l.state_size)
  for i = 0, l.state_size - 1 do l.state[i] = self.states[from + i] end
end

function Pool:write_state(l, slot)
  if self.is_null(slot) then return end
  local to = place(self, slot, l.state_size)
  for i = 0, l.state_size - 1 do self.states[to + i] = l.state[i] end
end

function Pool:__tostring()
  if self.tokens then return ("gdnmeta.Sequence(%d tokens)"):format(self.tokens) end
  return ("gdnmeta.StatePool(%d slots)"):format(self.num_slots)
end

local M = {}

local function window_size(l) return (l.width - 1 + l.num_spec) * l.channels end

--- What stands against so many slots of a layer, or against its sizes: two slots are there for any sequence.
---@return string|nil
function M.problem(l, num_slots)
  local size = math.max(window_size(l), l.state_size, l.width * l.channels)
  if size > MOST / 2 then
    return ("heads = %d, key_dim = %d, value_dim = %d, width = %d and num_spec = %d make arrays of %d "
            .. "numbers, want at most %d"):format(l.heads, l.key_dim, l.value_dim, l.width, l.num_spec, size,
                                                  MOST / 2)
  end
  local most = math.floor(MOST / size)
  if num_slots > most then
    return ("num_slots = %d, want at most %d of %d numbers each"):format(num_slots, most, size)
  end
end

--- l: sizes of the layer; windows have room to step back over num_spec rejected drafts.
function M.new(l, num_slots)
  local self = { num_slots = num_slots, window_size = window_size(l) }
  local windows, states = num_slots * self.window_size, num_slots * l.state_size
  self.windows, self.states = doubles(windows, NAN), doubles(states, NAN)
  return setmetatable(self, Pool)
end

return M
