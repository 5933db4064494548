--- The metadata of a builder's last successful build: its fields are those of gdn_metadata, numbers
-- as numbers, tensors as views or nil. One object per builder (and one per cache group), made once.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local nums_dict = require "gdnmeta.metadata.nums_dict"
local draw = require "gdnmeta.metadata.draw"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local methods = require "gdnmeta.native.methods"
local tensor = require "gdnmeta.tensor"
local clear = require "table.clear"

local metadata_t = ffi.typeof "gdn_metadata"
local tensor_t = ffi.typeof "gdn_tensor"

-- What each holds stands at gdn_metadata in src/gdnmeta.h. A tensor that the step lacks is nil.
---@class gdnmeta.Metadata
---@field step integer successful builds so far
---@field num_prefills integer rows from the first row that is no decode
---@field num_prefill_tokens integer
---@field num_decodes integer 0 in every speculative step: plain decodes there count as prefills
---@field num_decode_tokens integer
---@field num_spec_decodes integer
---@field num_spec_decode_tokens integer
---@field num_actual_tokens integer tokens with padding
---@field num_rows integer rows with padding
---@field num_tiles integer conv1d tiles of batch_ptr, nums_dict's `tot`
---@field uniform_spec_sequence_length integer|nil tokens that every speculative row has
---@field checkpoint_every_n_tokens integer|nil nil: no plan of checkpoints
---@field num_checkpoints integer|nil
---@field spec_query_start_loc gdnmeta.Tensor|nil int32 or int64 [b + 1]
---@field non_spec_query_start_loc gdnmeta.Tensor|nil
---@field spec_state_indices_tensor gdnmeta.Tensor|nil int32 [b, S + 1]
---@field non_spec_state_indices_tensor gdnmeta.Tensor|nil int32 [b]
---@field spec_sequence_masks gdnmeta.Tensor|nil bool [rows, or b]
---@field spec_token_indx gdnmeta.Tensor|nil int32 (pure) or int64 (mixed) [tokens]
---@field non_spec_token_indx gdnmeta.Tensor|nil
---@field num_accepted_tokens gdnmeta.Tensor|nil int32 [b]
---@field has_initial_state gdnmeta.Tensor|nil bool [n]
---@field chunk_indices gdnmeta.Tensor|nil int32 [chunks, 2]
---@field chunk_offsets gdnmeta.Tensor|nil int64 [rows + 1]
---@field batch_ptr gdnmeta.Tensor|nil int32 [2 * max(1024, tiles)] row of each conv1d tile, then -1
---@field token_chunk_offset_ptr gdnmeta.Tensor|nil int32 of the same length: tile of the row, then -1
---@field prefill_query_start_loc gdnmeta.Tensor|nil int32 or int64 [prefills + 1]
---@field prefill_state_indices gdnmeta.Tensor|nil int32 [prefills]
---@field prefill_has_initial_state gdnmeta.Tensor|nil bool [prefills]
---@field spec_read_state_indices gdnmeta.Tensor|nil int32 [b]
---@field non_spec_read_state_indices gdnmeta.Tensor|nil int32 [b]
---@field prefill_read_state_indices gdnmeta.Tensor|nil int32 [prefills]
---@field spec_conv_shift gdnmeta.Tensor|nil int32 [b]
---@field non_spec_conv_shift gdnmeta.Tensor|nil int32 [b]
---@field checkpoint_offsets gdnmeta.Tensor|nil int32 [n]
---@field checkpoint_state_indices gdnmeta.Tensor|nil int32 [n]
---@field checkpoint_chunk gdnmeta.Tensor|nil int32 [n]
---@field checkpoint_cu_starts gdnmeta.Tensor|nil int64 [prefills + 1]
---@field checkpoint_rows gdnmeta.Tensor|nil int64 [n]
---@field decode_query_start_loc gdnmeta.Tensor|nil int32 or int64 [R + 1]; this and on: buckets
---@field decode_state_indices gdnmeta.Tensor|nil int32 [R]
---@field decode_read_state_indices gdnmeta.Tensor|nil int32 [R]
---@field token_class gdnmeta.Tensor|nil uint8 [T] 0 padding, 1 speculative, 2 decode, 3 prefill
---@field live_counts gdnmeta.Tensor|nil int32 [8] num_prefills .. num_actual_tokens, then real rows
---@field nums_dict table|nil the conv1d launch as its kernels know it, of steps with prefills
local members = {}
local metatable = {}

-- core: { handle, stamp } of the builder. struct: gdn_metadata. group: false in the builder's own object.
local function object(core, struct, num_groups, group)
  return setmetatable({ core = core, struct = struct, num_groups = num_groups, group_index = group,
                        groups = {}, views = {}, seen = -1 }, metatable)
end

--- The step as a cache group sees it: an object like this one with the group's own state fields.
---@param group integer 0-based
---@return gdnmeta.Metadata metadata
function members:group(group)
  if getmetatable(self) ~= metatable then methods.colon("Metadata", "group") end
  if not args.integer(group, 0, self.num_groups - 1) then
    error("gdnmeta.Metadata:group: " .. args.wrong_integer("group", group, 0, self.num_groups - 1), 2)
  end
  local found = self.groups[group]
  if not found then
    found = object(self.core, metadata_t(), self.num_groups, group)
    found.groups = self.groups
    self.groups[group] = found
  end
  return found
end

-- Forget what belongs to an older step. A group's struct is a copy and has to be fetched again.
local function refresh(self, step)
  clear(self.views)
  self.seen = step
  if self.group_index then
    local status = lib.gdn_metadata_group(self.core.handle, self.group_index, self.struct)
    if status ~= 0 then error("gdnmeta.Metadata: " .. ffi.string(lib.gdn_strstatus(status)), 0) end
  end
end

-- Numbers that a step may not have, and the number that is 0 then.
local OPTIONAL = { uniform_spec_sequence_length = "uniform_spec_sequence_length",
                   checkpoint_every_n_tokens = "checkpoint_every_n_tokens",
                   num_checkpoints = "checkpoint_every_n_tokens" }

-- Views are made on first use; false means that this step has none.
local function look_up(self, name)
  if name == "nums_dict" then return self.batch_ptr and nums_dict.record(self) or false end
  local value, decider = self.struct[name], OPTIONAL[name]
  if decider and self.struct[decider] == 0 then return false end
  if not ffi.istype(tensor_t, value) then return tonumber(value) end
  return tensor.view(self.core, value) or false
end

function metatable.__index(self, name)
  if members[name] then return members[name] end
  local step = self.core.stamp[0]
  if step < 0 then error("gdnmeta.Metadata: builder closed", 2) end
  if step ~= self.seen then refresh(self, step) end
  local value = self.views[name]
  if value == nil then
    if name ~= "nums_dict" and not (type(name) == "string" and ffi.offsetof(metadata_t, name)) then
      error("gdnmeta.Metadata: no field " .. args.show(name), 2)
    end
    value = look_up(self, name)
    if type(value) == "number" then return value end
    self.views[name] = value
  end
  return value or nil
end

function metatable.__newindex(_, name)
  error("gdnmeta.Metadata: read-only, cannot set " .. args.show(name), 2)
end

-- Rule sets other than strict let steps through whose rows contradict each other, and a device may fail: then
-- the classes are all that is drawn. They also stand below a table that does not have every row.
function metatable.__tostring(self)
  if self.core.stamp[0] < 0 then return "gdnmeta.Metadata(closed)" end
  local text = draw.step(self)
  if self.num_rows == 0 then return text end
  local ok, rows, is_whole = pcall(draw_rows.draw, self)
  if not ok then return text end
  local head, classes = text:match "^([^\n]*)(.*)$"
  return head .. "\n" .. rows .. (is_whole and "" or classes)
end

local M = {}

---@param core table { handle, stamp }
---@param struct ffi.cdata* const gdn_metadata *, of a fixed address
---@param num_groups integer
---@local
function M.new(core, struct, num_groups)
  return object(core, struct, num_groups, false)
end

return M
