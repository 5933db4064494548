-- Compares what a build should be (a record in the form of `expect` in the vectors) with what it is.
-- A reason names the field, and the first element that differs with both values.
local ffi = require "ffi"

local M = {}

M.SCALARS = { "num_prefills", "num_prefill_tokens", "num_decodes", "num_decode_tokens", "num_spec_decodes",
  "num_spec_decode_tokens", "num_actual_tokens", "num_rows", "num_tiles", "uniform_spec_sequence_length",
  "checkpoint_every_n_tokens", "num_checkpoints" }

--- Tensors that differ from cache group to cache group.
M.STATE = { "spec_state_indices_tensor", "non_spec_state_indices_tensor", "prefill_state_indices",
  "spec_read_state_indices", "non_spec_read_state_indices", "prefill_read_state_indices",
  "checkpoint_state_indices", "decode_state_indices", "decode_read_state_indices" }

M.TENSORS = { "spec_query_start_loc", "non_spec_query_start_loc", "spec_sequence_masks", "spec_token_indx",
  "non_spec_token_indx", "num_accepted_tokens", "has_initial_state", "chunk_indices", "chunk_offsets",
  "batch_ptr", "token_chunk_offset_ptr", "prefill_query_start_loc", "prefill_has_initial_state",
  "spec_conv_shift", "non_spec_conv_shift", "checkpoint_offsets", "checkpoint_chunk",
  "checkpoint_cu_starts", "checkpoint_rows",
  "decode_query_start_loc", "token_class", "live_counts" }

local function absent(value) return value == nil or type(value) == "userdata" end -- cjson.null

local function show(value) return absent(value) and "null" or tostring(value) end

local function differ(what, want, got) return ("%s: want %s, got %s"):format(what, want, got) end

local function flat(data)
  if type(data[1]) ~= "table" then return data end
  local out = {}
  for _, row in ipairs(data) do
    for _, value in ipairs(row) do out[#out + 1] = value end
  end
  return out
end

local function count(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end

--- A tensor view of the library in the form of the vectors.
function M.tensor_of(view)
  local shape = {}
  for i = 1, #view.shape do shape[i] = view.shape[i] end
  return { dtype = view.dtype, shape = shape, data = view:totable(), pointer = view.data }
end

--- Two tensors in the form of the vectors. Returns nil, or a reason.
function M.tensors(field, want, got)
  if absent(want) or absent(got) then
    if absent(want) and absent(got) then return end
    return differ(field, absent(want) and "null" or "a tensor", absent(got) and "null" or "a tensor")
  end
  if want.dtype ~= got.dtype then
    return differ(field, "dtype " .. show(want.dtype), show(got.dtype))
  end
  local want_shape, got_shape = table.concat(want.shape, ", "), table.concat(got.shape, ", ")
  if want_shape ~= got_shape then
    return differ(field, ("shape [%s]"):format(want_shape), ("[%s]"):format(got_shape))
  end

  local a, b = flat(want.data), flat(got.data)
  for i = 1, count(want.shape) do
    local x, y = a[i], b[i]
    if x == nil then x = want.fill end
    if y == nil then y = got.fill end
    if x ~= y or x == nil then
      local at = tostring(i - 1)
      if #want.shape == 2 then
        local width = want.shape[2]
        at = ("%d][%d"):format(math.floor((i - 1) / width), (i - 1) % width)
      end
      return differ(("%s[%s]"):format(field, at), show(x), show(y))
    end
  end
  if b[count(got.shape) + 1] ~= nil then return ("%s: more elements than its shape says"):format(field) end
end

local function address(view) return tonumber(ffi.cast("uintptr_t", view.data)) end

-- `want` of one entry of nums_dict; `got` the library's. Strings name a field of the metadata.
local function conv_entry(field, want, got, meta)
  for name, value in pairs(want) do
    local here, found = ("%s.%s"):format(field, name), got[name]
    local same = type(value) == "string" and value:match "^same object as (.+)$"
    if same then
      if absent(found) or absent(meta[same]) or address(found) ~= address(meta[same]) then
        return ("%s: not the same memory as %s"):format(here, same)
      end
    elseif type(value) == "table" then
      local reason = M.tensors(here, value, not absent(found) and M.tensor_of(found) or nil)
      if reason then return reason end
    elseif value ~= found then
      return differ(here, show(value), show(found))
    end
  end
end

local function conv_record(want, got, meta)
  if absent(want) or absent(got) then
    if absent(want) and absent(got) then return end
    return differ("nums_dict", absent(want) and "null" or "a record", absent(got) and "null" or "a record")
  end
  for key in pairs(got) do
    if want[tostring(key)] == nil then return ("nums_dict: unexpected key %s"):format(tostring(key)) end
  end
  for key, entry in pairs(want) do
    local found = got[tonumber(key)]
    if found == nil then return ("nums_dict: no key %s"):format(key) end
    local reason = conv_entry(("nums_dict[%s]"):format(key), entry, found, meta)
    if reason then return reason end
  end
end

--- One field of a record against the same field of a metadata object. Returns nil, or a reason.
function M.field(name, want, meta)
  if name == "nums_dict" then return conv_record(want, meta.nums_dict, meta) end
  local got = meta[name]
  if type(want) == "number" or type(got) == "number" then
    if want == got then return end
    return differ(name, show(want), show(got))
  end
  return M.tensors(name, want, not absent(got) and M.tensor_of(got) or nil)
end

--- The fields that `expect` names, nulls included.
function M.expected(expect, meta)
  for name, want in pairs(expect) do
    local reason = name ~= "builder" and M.field(name, want, meta)
    if reason then return reason end
  end
end

--- Every field of every group, absence included. groups[g + 1] are the state fields of group g.
function M.everything(record, groups, meta)
  for _, list in ipairs { M.SCALARS, M.TENSORS, M.STATE, { "nums_dict" } } do
    for _, name in ipairs(list) do
      local reason = M.field(name, record[name], meta)
      if reason then return reason end
    end
  end
  for g, state in ipairs(groups) do
    local view = meta:group(g - 1)
    for _, name in ipairs(M.STATE) do
      local reason = M.field(name, state[name], view)
      if reason then return ("group %d: %s"):format(g - 1, reason) end
    end
  end
end

return M
