-- What a step record says, on one line.
local ffi = require "ffi"
local lib = require "gdnmeta.native"

local COUNTS = { "kind", "graph", "branches", "num_rows", "num_tokens", "padded_rows", "padded_tokens",
                 "num_groups", "columns", "num_bring" }
local BY_ROW = { "request", "seed", "query_len", "seq_len", "drafts", "accepted_tokens", "prompt_done",
                 "table_row", "read_column", "checkpoint_len", "samples", "temperature", "top_p" }

local function list(array, n)
  local values = {}
  for i = 1, n do values[i] = ("%.15g"):format(tonumber(array[i - 1])) end
  return table.concat(values, ",")
end

--- A record, unpacked and told.
---@param memory ffi.cdata* a record
---@param limits ffi.cdata* gdn_hello
---@return string
return function(memory, limits)
  local r, why, parts = ffi.new "gdn_step_record", ffi.new "char[512]", {}
  local bytes = ffi.cast("int64_t *", memory)[1]
  assert(lib.gdn_step_unpack(memory, bytes, limits, r, why, 512) == 0, ffi.string(why))
  parts[1] = ("step %d"):format(tonumber(r.number))
  local function put(name, text) parts[#parts + 1] = name .. " " .. text end
  for _, name in ipairs(COUNTS) do put(name, ("%d"):format(r[name])) end
  local rows, groups = r.num_rows, r.num_groups
  local sizes = { tokens = r.num_tokens, slots = rows * groups * r.columns, read_slots = rows * groups,
                  checkpoint_slot = rows * groups, table_changes = 3 * r.num_table_changes,
                  kv_copies = 2 * r.num_kv_copies }
  for _, name in ipairs(BY_ROW) do sizes[name] = rows end
  local names = {}
  for name in pairs(sizes) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if sizes[name] > 0 then put(name, list(r[name], sizes[name])) end
  end
  return table.concat(parts, "; ")
end
