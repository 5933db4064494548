-- A small index by hand: paths are words, a letter a block.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local lib = require "gdnmeta.native"

local M = {}

function M.new(options)
  local config = { num_groups = 2, block_size = 4, kv_per_block = 1, max_nodes = 40, max_blocks = 200,
                   kv_bytes = 10, state_bytes = 1000 }
  for name, value in pairs(options or {}) do config[name] = value end
  return assert(Index.new(config))
end

local ids_t, ints_t = ffi.typeof "int64_t[64]", ffi.typeof "int32_t[64]"

-- "abc" is a path of three blocks.
function M.ids_of(text)
  local ids = ids_t()
  for k = 1, #text do ids[k - 1] = text:byte(k) end
  return ids, #text
end

local next_slot = 1
function M.slots_of(first, second)
  next_slot = next_slot + 2
  return ffi.new("int32_t[2]", first or next_slot, second or next_slot + 1)
end

function M.publish(index, text, slots, from, move)
  local ids, n = M.ids_of(text)
  local kv = ints_t()
  for k = 0, n - 1 do kv[k] = 100 + k end
  local out, why, code = index:publish(ids, n, kv, slots, from, move)
  return out and out.node, why, code
end

function M.match(index, text, limit)
  local ids, n = M.ids_of(text)
  return index:match(ids, n, limit or 4 * n)
end

function M.step(index) index:advance(index.now + 1) end

function M.filled(options, ...)
  local index = M.new(options)
  for _, text in ipairs { ... } do
    M.publish(index, text, M.slots_of())
    M.step(index)
  end
  return index
end

function M.text_of(index, node)
  local depth, ids, text = index:describe(node).tokens / index.block_size, ids_t(), ""
  assert(lib.gdn_index_read(index.handle, node, 0, depth, ids, nil) == 0)
  for k = 0, depth - 1 do text = text .. string.char(tonumber(ids[k])) end
  return text
end

function M.rate(index, kind, value)
  local nodes, n, values = index:candidates(kind, 64)
  for k = 1, n do values[k] = value(nodes[k]) end
  assert(index:rate(kind, n, values) == nil)
  return n
end

-- The order in which leaves go.
function M.order(index)
  local list = {}
  while index:first(Index.LEAVES) > 0 do
    local node = index:first(Index.LEAVES)
    list[#list + 1] = M.text_of(index, node)
    index:evict(node, 64, ints_t())
  end
  return list
end

return M
