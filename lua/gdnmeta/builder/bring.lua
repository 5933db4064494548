--- Bringing states and windows to where kernels look that read where they write. These are methods of the
-- builder; gdnmeta.h says which bytes move for which row.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local domains = require "gdnmeta.native.domains"
local status_message = require "gdnmeta.builder.status_message"
local opened = require("gdnmeta.native.methods").builder
local options = require "gdnmeta.native.options"
local pools = require "gdnmeta.builder.pools"

local SLOT_BYTES, STRIDE, LENGTH, CHANNELS = 64 * 2 ^ 20, 2 ^ 40, 1024, 2 ^ 24

local states_t, windows_t = ffi.typeof "gdn_state_pools", ffi.typeof "gdn_window_pools"

local SPEC_ROWS = domains.code_of { "accepted", "first", "leave" }

local STATES = {
  group = {}, pool = {}, spec_rows = { 0, SPEC_ROWS },
  slot_bytes = { nil, domains.integer(1, SLOT_BYTES), true },
  slot_stride = { 0, domains.integer(1, STRIDE) },
}

local WINDOWS = {
  group = {}, pool = {}, spec_rows = { 0, SPEC_ROWS }, strides = {},
  windows_in = { 0, domains.one_of({ "first", "every" }, { first = 1, every = 2 }) },
  channels = { nil, domains.integer(1, CHANNELS), true },
  length = { nil, domains.integer(1, LENGTH), true },
  element_bytes = { nil, domains.where(function(value)
    return value == 1 or value == 2 or value == 4 or value == 8
  end, "1, 2, 4 or 8"), true },
}

-- A builder with several groups has a pool for each: which one is meant must be said.
local function group_of(self, group)
  if group == nil and self.num_groups == 1 then return 0 end
  if args.integer(group, 0, self.num_groups - 1) then return group end
  return nil, args.wrong_integer("group", group, 0, self.num_groups - 1)
end

local function fill_strides(strides, into)
  if strides == nil then return end
  if type(strides) ~= "table" or args.length(strides) ~= 3 then
    return args.wrong("strides", strides, "a list of three: elements to the next slot, channel, token")
  end
  local stride = domains.integer(1, STRIDE)
  for i = 1, 3 do
    local value = rawget(strides, i)
    local _, wanted = stride(value)
    if wanted then return args.wrong(("strides[%d]"):format(i), value, wanted) end
    into[i - 1] = value
  end
end

-- Bytes from a slot to the next, and bytes that the elements of one span.
local function state_span(c)
  local bytes = tonumber(c.slot_bytes)
  return math.max(tonumber(c.slot_stride), bytes), bytes
end

local function window_span(c)
  local slot, channel, token = tonumber(c.strides[0]), tonumber(c.strides[1]), tonumber(c.strides[2])
  if slot == 0 then slot, channel, token = c.channels * c.length, c.length, 1 end
  local elements = (c.channels - 1) * channel + (c.length - 1) * token + 1
  return slot * c.element_bytes, elements * c.element_bytes
end

-- The two methods differ in their fields, what their slots span and the C function.
local function bringer(method, spec, struct, names, span, bring)
  local function refuse(problem) error(("gdnmeta.Builder:%s: %s"):format(method, problem), 3) end
  return function(self, given, stream)
    opened(self, method)
    if type(given) ~= "table" then refuse(args.wrong("options", given, "a table")) end
    local o, problem = options.read(given, spec)
    if not o then refuse(problem) end
    if stream ~= nil and not args.pointer(stream) then
      refuse(args.wrong("stream", stream, "nil or a pointer"))
    end
    local group, wrong_group = group_of(self, o.group)
    if not group then refuse(wrong_group) end
    local c = struct()
    for _, name in ipairs(names) do c[name] = o[name] end
    problem = spec.strides and fill_strides(o.strides, c.strides)
    if problem then refuse(problem) end
    local list, n = pools.read(o.pool, self.core.on_device, self.num_slots[group + 1], span(c))
    if not list then refuse(n) end
    -- C gets addresses alone; compiled code may have forgotten the objects by then.
    self.core.pool_given, self.core.pool_list = o.pool, list
    c.size, c.group, c.spec_rows, c.pools, c.num_pools = ffi.sizeof(struct), group, o.spec_rows, list, n
    local handle = opened(self, method) -- `given` may have closed it
    local status = bring(handle, c, stream)
    if status ~= 0 then return status_message(handle, status) end
    return true
  end
end

local M = {}

--- Copy states of the last build's rows to the slots that kernels look at which read where they write, in one
--- launch. Options: pool (a pointer, a DLPack tensor, or a list of those of the group's layers), slot_bytes;
--- group (0-based; needed where there are several), slot_stride = slot_bytes, spec_rows = "accepted" (kernels
--- of speculative rows start from column accepted - 1), "first" (from the first column) or "leave".
---@param given table
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream, which may be captured
---@return boolean|nil ok
---@return string? message
---@return integer? code
---@function M:bring_states
M.bring_states = bringer("bring_states", STATES, states_t, { "slot_bytes", "slot_stride" },
                         state_span, lib.gdn_bring_states)

--- The same for conv windows, which move within their slot as well. Options: pool, group, spec_rows;
--- channels, length (tokens of a channel), element_bytes; strides (elements to the next slot, channel and
--- token), windows_in = "first" (the last step left a row's window in the first slot that it wrote) or
--- "every" (in each), by default "every" in mode align and "first" in the others.
---@param given table
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream, which may be captured
---@return boolean|nil ok
---@return string? message
---@return integer? code
---@function M:bring_windows
M.bring_windows = bringer("bring_windows", WINDOWS, windows_t,
                          { "channels", "length", "element_bytes", "windows_in" }, window_span,
                          lib.gdn_bring_windows)

return { methods = M }
