-- luajit spec/support/row_garbage.lua <set_blocks|add|keep> <list|pointer|array> <groups>
-- Prints the bytes of garbage per call of what a host calls for each row of a step, once it is compiled.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local growth = require "spec.support.growth"

local CALLS = 4000
local call, kind, groups = arg[1], arg[2], tonumber(arg[3])

local memory = gdn.array_of "int32_t"(4, { 1, 2, 3, 4 })
local list = ({ list = { 1, 2, 3, 4 }, pointer = { ffi.cast("int32_t *", memory), 4 }, array = memory })[kind]

local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 16, num_groups = groups,
                                     num_speculative_tokens = 3 })
local batch = assert(builder:batch())
local row = { query_len = 100, seq_len = 100, blocks = groups == 1 and list or { list, list } }
if call == "keep" then row.checkpoint_len, row.checkpoint_slot = 64, groups == 1 and 9 or { 9, 9 } end

local function add(i)
  if i % 8 == 0 then batch:clear() end
  batch:add(row)
end

local function set_blocks(i) builder:set_blocks(groups - 1, i % 16, list) end

local write = call == "set_blocks" and set_blocks or add
local function loop(n) for i = 1, n do write(i) end end

for _ = 1, 4 do loop(CALLS) end
print(1024 * growth(function() loop(CALLS) end) / CALLS)
