--- Views of a step's tensors: v[i] is flat and 0-based, bounds are checked, and a view knows its age:
-- the builder's next build overwrites the arena, and what a view would show then is not its step.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local dlpack = require "gdnmeta.tensor.dlpack"
local methods = require "gdnmeta.native.methods"
local array_of = require "gdnmeta.array_of"

-- Anonymous, so that a module reloader may set another metatable. `_stamp` points to the builder's
-- current step, -1 once it is closed; `_step` is the one that the view belongs to.
local view_t = ffi.typeof [[struct {
  void *const _data; const double *const _stamp; const double _step;
  const int32_t _dtype, _ndim, _rows, _columns;
}]]

local DTYPES = { [0] = "int32", "int64", "bool", "uint8" } -- GDN_INT32, GDN_INT64, GDN_BOOL, GDN_UINT8
local POINTERS = { [0] = ffi.typeof "int32_t *", ffi.typeof "int64_t *", ffi.typeof "bool *",
                   ffi.typeof "uint8_t *" }
local int32_p, int64_p, bool_p, uint8_p = POINTERS[0], POINTERS[1], POINTERS[2], POINTERS[3]
local SHOWN = 8 -- elements in a view's text

-- What a view reads lives as long as the view: it is cdata and can hold no reference of its own. An
-- anchor must not lead back to views, for LuaJIT's weak tables would then keep both forever.
local anchors = setmetatable({}, { __mode = "k" })

local bytes_t = array_of "uint8_t"
local SIZES = { [0] = 4, 8, 1, 1 }

-- What was read of views on the device. A view shows one step, so one copy will do.
local copies = setmetatable({}, { __mode = "k" })

local function length(view) return view._rows * view._columns end

-- Host memory of a view's elements: a copy of it, waited for, where they are on the device.
local function readable(view)
  local core = anchors[view]
  if not core.on_device then return view._data end
  local copy = copies[view]
  if not copy then
    local bytes = length(view) * SIZES[view._dtype]
    copy = bytes_t(bytes)
    if lib.gdn_builder_read(core.handle, copy, view._data, bytes) ~= 0 then
      error("gdnmeta.Tensor: " .. ffi.string(lib.gdn_last_error(core.handle)), 0)
    end
    copies[view] = copy
  end
  return copy
end

local function element(view, i)
  local memory, dtype = readable(view), view._dtype
  if dtype == 0 then return ffi.cast(int32_p, memory)[i] end
  if dtype == 1 then return tonumber(ffi.cast(int64_p, memory)[i]) end
  if dtype == 2 then return ffi.cast(bool_p, memory)[i] end
  return ffi.cast(uint8_p, memory)[i]
end

-- Why the view cannot be read any more, or nil.
local function expired(view)
  local now = view._stamp[0]
  if now == view._step then return nil end
  if now < 0 then return "gdnmeta.Tensor: builder closed" end
  return ("gdnmeta.Tensor: stale, made at step %d, the builder is at step %d"):format(view._step, now)
end

---@class gdnmeta.Tensor
---@field rows integer
---@field columns integer 1 in one dimension
---@field shape integer[] one or two numbers, in a new table
---@field dtype string "int32", "int64", "bool" or "uint8"
---@field data ffi.cdata* pointer to the elements; on a GPU they are the device's
local members = {}

--- Elements as a Lua list: flat for one dimension, a list of rows for two.
---@param view ffi.cdata* the tensor: `v:totable()`
---@return table
function members.totable(view)
  if not ffi.istype(view_t, view) then methods.colon("Tensor", "totable") end
  local why = expired(view)
  if why then error(why, 2) end
  local out, columns = {}, view._columns
  if view._ndim == 1 then
    for i = 0, view._rows - 1 do out[i + 1] = element(view, i) end
    return out
  end
  for row = 0, view._rows - 1 do
    local line = {}
    for column = 0, columns - 1 do line[column + 1] = element(view, row * columns + column) end
    out[row + 1] = line
  end
  return out
end

local function out_of(dimension, i, n)
  error(("gdnmeta.Tensor:at: %s %s, want an integer in [0, %d)"):format(dimension, args.show(i), n), 3)
end

--- An element by its row and column.
---@param view ffi.cdata* the tensor: `v:at(i, j)`
---@param i integer 0-based
---@param j integer|nil 0-based; nil in one dimension
---@return number|boolean
function members.at(view, i, j)
  if not ffi.istype(view_t, view) then methods.colon("Tensor", "at") end
  local why = expired(view)
  if why then error(why, 2) end
  local columns = view._columns
  if not args.integer(i, 0, view._rows - 1) then out_of("row", i, view._rows) end
  if view._ndim == 1 then
    if j ~= nil then
      error(("gdnmeta.Tensor:at: column %s, want none of a vector"):format(args.show(j)), 2)
    end
    j = 0
  elseif not args.integer(j, 0, columns - 1) then
    out_of("column", j, columns)
  end
  local value = element(view, i * columns + j)
  return value
end

--- The tensor for another library, by the DLPack protocol and without a copy: the next build overwrites it,
--- but its memory lives as long as it does, also when the builder is closed. The collector deletes it, or its
--- new owner: hand it on with ffi.gc(export, nil).
---@return ffi.cdata*|nil export gdn_dlpack *, which is laid out as a DLManagedTensorVersioned *
---@return string? message
---@return integer? code
function members.dlpack(view)
  if not ffi.istype(view_t, view) then methods.colon("Tensor", "dlpack") end
  local why = expired(view)
  if why then error(why, 2) end
  local handle = anchors[view].handle
  if not handle then
    error("gdnmeta.Tensor:dlpack: a vector of nums_dict, want a tensor of the metadata", 2)
  end
  return dlpack.export(handle, view._data, view._rows, view._columns, view._dtype, view._ndim)
end

local function shape(view)
  return view._ndim == 1 and { view._rows } or { view._rows, view._columns }
end

local function index(view, key)
  if type(key) == "number" then
    local why = expired(view)
    if why then error(why, 2) end
    if not args.integer(key, 0, length(view) - 1) then
      error(("gdnmeta.Tensor: index %s, want an integer in [0, %d)"):format(args.show(key), length(view)), 2)
    end
    return element(view, key)
  end
  if members[key] then return members[key] end
  if key == "rows" then return view._rows end
  if key == "columns" then return view._columns end
  if key == "shape" then return shape(view) end
  if key == "dtype" then return DTYPES[view._dtype] end
  if key == "data" then
    -- Addresses outlive a step, but not the builder.
    if view._stamp[0] < 0 then error("gdnmeta.Tensor: builder closed", 2) end
    return ffi.cast(POINTERS[view._dtype], view._data)
  end
  error("gdnmeta.Tensor: no field " .. args.show(key), 2)
end

local function text(view)
  local head = ("%s[%s]"):format(DTYPES[view._dtype], table.concat(shape(view), ", "))
  if expired(view) then return head .. (view._stamp[0] < 0 and " (closed)" or " (stale)") end
  local n, parts = length(view), {}
  for i = 0, math.min(n, SHOWN) - 1 do parts[i + 1] = tostring(element(view, i)) end
  if n > SHOWN then parts[#parts + 1] = "..." end
  return head .. " {" .. table.concat(parts, ", ") .. "}"
end

local View = ffi.metatype(view_t, {
  __index = index,
  __newindex = function(_, key) error("gdnmeta.Tensor: read-only, cannot set " .. args.show(key), 2) end,
  __len = length,
  __tostring = text,
})

local M = { DTYPES = DTYPES }

--- A view of the step that `core.stamp` now counts.
---@param core table { stamp = double[1], ... } whatever keeps the elements and the stamp alive
---@param tensor ffi.cdata* gdn_tensor
---@return ffi.cdata*|nil view nil where the step has no such tensor
---@local
function M.view(core, tensor)
  if tensor.data == nil then return nil end
  local stamp = core.stamp
  local view = View(tensor.data, stamp, stamp[0], tensor.dtype, tensor.ndim, tensor.shape[0], tensor.shape[1])
  anchors[view] = core
  return view
end

--- A vector over memory of the VM, which the view keeps alive. It goes stale like any other.
---@param core table as for view
---@param array ffi.cdata* of int32_t or int64_t
---@param dtype integer GDN_INT32 or GDN_INT64
---@param n integer elements
---@return ffi.cdata* view
---@local
function M.vector(core, array, dtype, n)
  local stamp = core.stamp
  local view = View(array, stamp, stamp[0], dtype, 1, n, 1)
  anchors[view] = { core, array }
  return view
end

return M
