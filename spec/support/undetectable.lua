-- What no check can see, class by class: a changed element with which the outputs are those of another step,
-- as good as this one. Knows the rules of a step and nothing of how checks are made.
local M = {}

local function pieces(length, size) return math.ceil(length / size) end

-- s: a snapshot, see spec/core/check_spec.lua: lists of values from 0, the step's scalars and its
-- configuration. i, value: what element i became.

-- Does anybody but row `but` of the class use the slot? Rows write or, where `reads` counts, read it.
local function used(s, group, slot, class, row, reads)
  for _, name in ipairs { "spec", "non_spec" } do
    local states = s.groups[group][name .. "_state_indices_tensor"]
    local columns, start = name == "spec" and s.columns or 1, s.spec_query_start_loc
    for k = 0, states and s.real[name] - 1 or -1 do
      if name ~= class or k ~= row then
        local written = name == "spec" and start[k + 1] - start[k] or 1
        for c = 0, written - 1 do
          if states[k * columns + c] == slot then return true end
        end
        if reads and s.groups[group][name .. "_read_state_indices"][k] == slot then return true end
      end
    end
  end
  local kept = s.strict and s.groups[group].checkpoint_state_indices
  for k = 0, kept and #kept or -1 do
    local own = class == "kept" and row == k
    if kept[k] == slot and s.checkpoint_offsets[k] ~= 0 and not own then return true end
  end
  return false
end

local function in_pool(s, group, slot, lowest) return slot >= lowest and slot < s.num_slots[group] end

-- Buckets have copies of the non-spec rows' arrays, other steps of the prefills' rows, which would tell.
local function copied(s, class, i)
  return class == "non_spec" and (s.bucket or s.prefill_query_start_loc ~= nil and i >= s.tail)
end

local function state(s, class, group, i, value)
  local columns = class == "spec" and s.columns or 1
  local row, column = math.floor(i / columns), i % columns
  if row >= s.real[class] or s.capture or copied(s, class, i) then return end
  local states, start = s.groups[group][class .. "_state_indices_tensor"], s[class .. "_query_start_loc"]
  local unmarked = value == 0 and s.pad_slot ~= 0 and start[row + 1] == start[row] -- -1 marks empty rows
  if not s.strict then return not unmarked and "reference: a slot" or nil end
  local written = class == "spec" and start[row + 1] - start[row] or 1
  if column >= written then return in_pool(s, group, value, 0) and "a slot after the drafts" or nil end
  if not in_pool(s, group, value, 1) then return end
  if not s.check_unique then return "a slot of the pool" end
  for c = 0, written - 1 do
    if c ~= column and states[row * columns + c] == value then return end
  end
  return not used(s, group, value, class, row, true) and "a slot that no other row uses" or nil
end

local function read(s, class, group, i, value)
  local now = s.groups[group][class .. "_read_state_indices"][i]
  if i >= s.real[class] or s.capture or copied(s, class, i) then return end
  if now == 0 or not in_pool(s, group, value, 1) then return end
  if s.check_unique and used(s, group, value, class, i, false) then return end
  return "a slot to read that no other row writes"
end

-- Does a row of the other class with tokens stand between rows k - 1 and k of this one?
local function parted(s, class, k)
  if s.bucket then
    local at, list = s.spec_query_start_loc[k], s.spec_token_indx
    return list[at] ~= list[at - 1] + 1
  end
  local mine, before = class == "spec" and 1 or 0, -1
  local other = class == "spec" and "non_spec" or "spec"
  local start, seen = s[other .. "_query_start_loc"], { [0] = 0, 0 }
  for row = 0, #s.spec_sequence_masks do
    local bit = s.spec_sequence_masks[row]
    if bit == mine and seen[mine] == k - 1 then before = seen[1 - mine] end
    if bit == mine and seen[mine] == k then return start[seen[1 - mine]] > start[before] end
    seen[bit] = seen[bit] + 1
  end
end

local function fits(s, class, row, length, first_prefill)
  local most = class == "spec" and s.strict and s.num_spec + 1 or s.max_num_batched_tokens
  if length < (s.strict and 1 or 0) or length > most then return false end
  if class == "spec" or not s.decodes then return true end
  if row < s.decodes then return length <= 1 end
  if row == s.decodes and first_prefill then
    return length >= s.least_prefill and (length > 1 or not s.strict or s.has_initial_state[row] == 0)
  end
  return true
end

-- The launch tables count pieces of rows, and would tell.
local function counted_alike(s, class, was, is)
  if class == "spec" or not s.batch_ptr then return true end
  return pieces(was, 8) == pieces(is, 8) and pieces(was, 64) == pieces(is, 64)
end

local function boundary(s, class, i, value)
  local start, real = s[class .. "_query_start_loc"], s.real[class]
  if i == 0 or i > real or start[i - 1] == nil then return end
  if class == "non_spec" and s.decodes and i == s.decodes then return end
  if copied(s, class, i) then return end
  local before = start[i - 1]
  if value < before or not fits(s, class, i - 1, value - before, true) then return end
  if not counted_alike(s, class, start[i] - before, value - before) then return end
  if i == real then
    local known = s.strict or s.mixed or start[i + 1]
    local most = class == "spec" and s.num_spec_decode_tokens or s.max_num_batched_tokens
    return not known and value <= most and "reference: the batch's end" or nil
  end
  local after = start[i + 1]
  if after == nil or value > after or not fits(s, class, i, after - value, true) then
    local cut = after == nil and not s.strict and not s.mixed
    return cut and "reference: the last boundary of a cut array" or nil
  end
  if not counted_alike(s, class, after - start[i], after - value) then return end
  if (s.mixed or s.bucket) and parted(s, class, i) then return end
  return "a boundary between its rows"
end

local FIELDS = {}

for _, class in ipairs { "spec", "non_spec" } do
  FIELDS[class .. "_query_start_loc"] = function(s, _, i, value) return boundary(s, class, i, value) end
  FIELDS[class .. "_state_indices_tensor"] = function(s, ...) return state(s, class, ...) end
  FIELDS[class .. "_read_state_indices"] = function(s, ...) return read(s, class, ...) end
end

function FIELDS.num_accepted_tokens(s, _, i)
  return not s.strict and i < s.real.spec and "reference: an accepted count" or nil
end

function FIELDS.has_initial_state(s, _, i, value)
  return not s.strict and not copied(s, "non_spec", i) and value <= 1 and "reference: an initial state" or nil
end

function FIELDS.non_spec_conv_shift(s, _, i, value)
  local reads = i < s.real.non_spec and s.groups[0].non_spec_read_state_indices[i] ~= 0
  return reads and value >= 0 and value <= s.num_spec and "a shift on a row with a state" or nil
end

function FIELDS.spec_sequence_masks(s, _, i, value)
  local start = s.spec_query_start_loc
  local empty = not s.strict and s.for_graph and i < s.num_spec_decodes and start[i + 1] == start[i]
  return empty and value <= 1 and "reference: the mask of an empty row" or nil
end

-- Within the row and on the grid, where no plan says which of the kept states it is. A row that keeps none
-- must have no slot for it, but the table may have named none.
-- Under strict the chunk, where there are chunk tables, and the slot tell otherwise.
function FIELDS.checkpoint_offsets(s, _, i, value)
  if s.strict then
    local was, start, chunks = s.checkpoint_offsets[i], s.prefill_query_start_loc, s.checkpoint_chunk
    if was == 0 or value <= 0 or value >= start[i + 1] - start[i] or s.kept_every ~= 0 then return end
    if value % s.kept_grid ~= 0 or chunks and (was % 64 == 0 or value % 64 == 0) then return end
    return "a checkpoint elsewhere in its row"
  end
  local start, inside = s.non_spec_query_start_loc, value == 0
  for group = 0, #s.groups do
    inside = inside and s.groups[group].checkpoint_state_indices[i] == s.pad_slot
  end
  if value > 0 then inside = value < start[i + 1] - start[i] and value % s.kept_grid == 0 end
  return inside and s.kept_every == 0 and "a checkpoint elsewhere in its row" or nil
end

function FIELDS.checkpoint_state_indices(s, group, i, value)
  if s.strict then
    if s.checkpoint_offsets[i] == 0 or not in_pool(s, group, value, 1) then return end
    if s.check_unique and used(s, group, value, "kept", i, true) then return end
  end
  return s.checkpoint_offsets[i] ~= 0 and "a slot for a checkpoint" or nil
end

--- The class of undetectable changes that this one is of, or nil.
---@param s table snapshot
---@param field string
---@param group integer 0-based
---@param i integer 0-based
---@param value integer what the element became
---@return string|nil
function M.class_of(s, field, group, i, value)
  local rule = FIELDS[field]
  return rule and rule(s, group, i, value)
end

return M
