--- Puts a host's rows into the order that a build wants; see gdn_reorder in gdnmeta.h.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local printed = require "gdnmeta.native.printed"
local int32_memory = require "gdnmeta.native.int32_memory"
local c_buffers = require "gdnmeta.native.c_buffers"

local INT32_MAX = args.INT32_MAX
local ORDER = printed.figures("Order", { "modified", "order", "swaps" })
local LISTS = { "num_scheduled", "num_computed", "num_prompt" }
local KNOWN = { decode_threshold = true, num_scheduled = true, num_computed = true, num_prompt = true }

-- The lists as C arrays, by name, and their common length; or nil, message.
local function arrays(inputs, memory)
  local out, n = {}, nil
  for _, name in ipairs(LISTS) do
    local list = inputs[name]
    local given, length = int32_memory.int32(name, list)
    if given then
      out[name] = given
    elseif length then
      return nil, length
    elseif type(list) == "table" then
      local message
      length, message = args.list(name, list, args.INT32_MIN, INT32_MAX)
      if not length then return nil, message end
      out[name] = memory:int32(name, length)
      args.copy(name, list, out[name], 0, length)
    else
      return nil, args.wrong(name, list, "a list or an int32_t array")
    end
    n = n or length
    if length ~= n then return nil, ("%s has %d elements, want %d"):format(name, length, n) end
  end
  return out, n
end

--- Rows by region: decodes, short extends (at most decode_threshold tokens), long extends, first
--- chunks. Rows that lie well stay; the others move by the swaps, in this order.
---@param inputs table decode_threshold, and num_scheduled, num_computed, num_prompt (tokens of each row)
---@return table result modified; order, the old row now at each place; swaps, pairs of rows; all 0-based
return function(inputs)
  if type(inputs) ~= "table" then
    error("gdnmeta.reorder: " .. args.wrong("inputs", inputs, "a table"), 2)
  end
  local unknown
  inputs, unknown = args.take(inputs, KNOWN)
  if not inputs then error("gdnmeta.reorder: unknown input " .. args.word(unknown), 2) end
  local threshold = inputs.decode_threshold
  if not args.integer(threshold, 0, INT32_MAX) then
    error("gdnmeta.reorder: " .. args.wrong_integer("decode_threshold", threshold, 0, INT32_MAX), 2)
  end
  local memory = c_buffers.new()
  local lists, n = arrays(inputs, memory)
  if not lists then error("gdnmeta.reorder: " .. n, 2) end

  local order, swaps = memory:int32("order", n), memory:int32("swaps", 2 * n)
  local count = lib.gdn_reorder(n, threshold, lists.num_scheduled, lists.num_computed, lists.num_prompt,
                                order, swaps, memory:int32("work", 3 * n))
  local out = setmetatable({ modified = count > 0, order = {}, swaps = {} }, ORDER)
  for i = 1, n do out.order[i] = order[i - 1] end
  for i = 1, count do out.swaps[i] = { swaps[2 * i - 2], swaps[2 * i - 1] } end
  memory:close()
  return out
end
