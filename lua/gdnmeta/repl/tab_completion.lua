-- Names that may follow a value, for completion. What an __index function makes up cannot be listed, so the
-- names of our own objects stand here.
local batches = require "gdnmeta.batch"
local explain = require "gdnmeta.repl.explain"
local gdn = require "gdnmeta"
local classes = require "gdnmeta.native.methods"

local BATCH = { fields = { "num_rows", "max_rows", "rows" },
                methods = { "add", "push", "pad", "index", "clear", "close" } }
local METADATA = { fields = explain.names, methods = { "group" } }
local TENSOR = { fields = { "rows", "columns", "shape", "dtype", "data" },
                 methods = { "at", "dlpack", "totable" } }
local LIBRARY = {
  fields = { "array_of", "bucket", "builder", "builder_bytes", "cache", "engine", "hash_blocks", "hash_chain",
             "metrics", "on_deprecated", "policy", "record", "reference", "reorder", "sim", "worker",
             "_VERSION", "ECAP", "EDEVICE", "EGUARD", "EINVAL", "ENOMEM", "STOP", "LENGTH" },
  methods = {},
}

local function known(value)
  if value == gdn then return LIBRARY end
  if batches.is_batch(value) then return BATCH end
  if type(value) == "cdata" then return TENSOR end
  return type(value) == "table" and rawget(value, "struct") and METADATA
end

-- Fields of a table and of its __index tables.
local function found(value)
  local fields, methods = {}, {}
  while type(value) == "table" do
    for name, field in next, value do
      if type(name) == "string" and name:find "^%a[%w_]*$" then
        local list = type(field) == "function" and methods or fields
        list[#list + 1] = name
      end
    end
    local mt = getmetatable(value)
    local is_ours = mt and (mt == classes.Builder or mt == classes.Engine or mt == classes.Step)
    value = is_ours and mt or mt and mt.__index
  end
  return { fields = fields, methods = methods }
end

---@param value any
---@param only_methods boolean what may follow a colon
---@return table names
return function(value, only_methods)
  local names, from = {}, known(value) or found(value)
  for _, name in ipairs(from.methods) do names[#names + 1] = name end
  if not only_methods then
    for _, name in ipairs(from.fields) do names[#names + 1] = name end
  end
  return names
end
