-- Plays of slot pools, attention blocks on both devices, heaps and orders, by every call with arguments that
-- are right or just wrong: how often each status was returned, and sums of all that could be seen after each
-- call, against spec/goldens/texts.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local lib = require "gdnmeta.native"
local random = require "spec.support.random_config"
local sum_of = require "spec.support.sum_of"

local int32s, doubles = array_of "int32_t", array_of "double"

-- make(rand, driver) gives calls by name, a function that sees, and one that closes.
local function play_all(name, plays, calls, make, driver)
  local counts, order, lines = {}, {}, {}
  for play = 1, plays do
    local rand, sum = random.rng(play * 7919), sum_of.new()
    local world, see, close = make(rand, driver)
    local names = {}
    for call in pairs(world) do names[#names + 1] = call end
    table.sort(names)
    for _ = 1, calls do
      local call = names[rand(1, #names)]
      local status = tonumber(world[call]())
      local key = ("%s %g"):format(call, status < 0 and status or 0)
      if not counts[key] then order[#order + 1] = key end
      counts[key] = (counts[key] or 0) + 1
      sum:text(call)
      sum:number(status)
      see(sum)
    end
    close()
    lines[#lines + 1] = ("play %d: %d"):format(play, sum.value)
  end
  table.sort(order)
  for n, key in ipairs(order) do order[n] = key .. ": " .. counts[key] end
  golden(name, table.concat(order, "\n") .. "\n" .. table.concat(lines, "\n") .. "\n")
end

-- A number of low .. high, now and then one past them.
local function ranged(rand, low, high)
  return rand(1, 12) == 1 and (rand(1, 2) == 1 and low - 1 or high + 1) or rand(low, high)
end

local function slots_world(rand)
  local groups, cells = rand(1, 3), 5
  local sizes, out, tables, own = int32s(3, { rand(1, 6), rand(1, 6), rand(1, 6) }), ffi.new "gdn_slots *[1]",
    ffi.new "int32_t *[3]", {}
  assert(lib.gdn_slots_new(groups, sizes, out) == 0)
  local s, list, stats = out[0], int32s(8), ffi.new "gdn_slots_stats"
  for g = 0, 2 do
    own[g] = int32s(cells)
    tables[g] = own[g]
  end
  local function group() return ranged(rand, 0, groups - 1) end
  local function slot() return ranged(rand, 0, 6) end
  local function at() return rand(1, 12) == 1 and -1 or rand(0, cells - 1) end
  local function some()
    for g = 0, 2 do list[g] = rand(1, 3) == 1 and slot() or own[g][rand(0, cells - 1)] end
    return list
  end
  return {
    take = function() return lib.gdn_slots_take(s, group(), rand(-1, 3), rand(-1, 9), list) end,
    share = function() return lib.gdn_slots_share(s, group(), slot()) end,
    drop = function() return lib.gdn_slots_drop(s, group(), slot()) end,
    take_each = function()
      return lib.gdn_slots_take_each(s, rand(-1, 2), rand(-1, 9), tables, rand(0, 3))
    end,
    drop_each = function() return lib.gdn_slots_drop_each(s, tables, at()) end,
    share_each = function()
      return lib.gdn_slots_share_each(s, some(), rand(1, 2) == 1 and tables or nil, at())
    end,
    drop_list = function() return lib.gdn_slots_drop_list(s, some()) end,
    copy_each = function() return lib.gdn_slots_copy_each(s, tables, at(), list) end,
    move_each = function() return lib.gdn_slots_move_each(s, tables, at(), at(), rand(-1, 9)) end,
  }, function(sum)
    for g = -1, groups do
      sum:number(lib.gdn_slots_available(s, g))
      local status = lib.gdn_slots_describe(s, g, stats)
      sum:number(status)
      if status == 0 then
        for _, name in ipairs { "taken", "size", "available", "used", "peak" } do sum:number(stats[name]) end
      end
      for k = -1, 7 do
        sum:number(lib.gdn_slots_owner(s, g, k))
        sum:number(lib.gdn_slots_holders(s, g, k))
        sum:number(lib.gdn_slots_generation(s, g, k))
      end
    end
    sum:number(lib.gdn_slots_least(s))
    for g = 0, groups - 1 do sum:array(own[g], cells) end
    sum:array(list, groups)
  end, function() lib.gdn_slots_free(s) end
end

local function blocks_world(rand, driver)
  local rows, columns, blocks, steps, tokens = 3, 4, rand(1, 9), 2, 16
  local builder = assert(gdn.builder { device = driver and "cuda" or "cpu", max_num_seqs = 4,
                                       max_num_batched_tokens = tokens })
  local out = ffi.new "gdn_kv *[1]"
  local config = ffi.new("gdn_kv_config", blocks, rand(1, 3), rows, columns, steps)
  assert(lib.gdn_kv_new(builder.handle, config, out) == 0)
  local kv, list, table_row, query_len, seq_len = out[0], int32s(8), int32s(4), int32s(4), int32s(4)
  local function row() return ranged(rand, 0, rows - 1) end
  local function some()
    for k = 0, 7 do
      list[k] = rand(1, 4) == 1 and rand(-1, blocks) or lib.gdn_kv_table(kv)[rand(0, rows * columns - 1)]
    end
    return list
  end
  return {
    extend = function() return lib.gdn_kv_extend(kv, row(), ranged(rand, 0, columns)) end,
    share = function() return lib.gdn_kv_share(kv, row(), some(), ranged(rand, 0, columns)) end,
    hold = function() return lib.gdn_kv_hold(kv, some(), rand(-1, 3)) end,
    take = function() return lib.gdn_kv_take(kv, rand(-1, 3), list) end,
    drop = function() return lib.gdn_kv_drop(kv, some(), rand(-1, 2)) end,
    clear = function() return lib.gdn_kv_clear(kv, row()) end,
    map = function()
      local n = ranged(rand, 0, 3)
      for k = 0, 3 do
        table_row[k], query_len[k] = ranged(rand, 0, rows - 1), ranged(rand, 0, 5)
        seq_len[k] = query_len[k] + rand(-1, 7)
      end
      return lib.gdn_kv_map(kv, ranged(rand, 0, steps - 1), n, table_row, query_len, seq_len,
        rand(1, 3) == 1 and rand(0, 17) or 12)
    end,
    send = function()
      return lib.gdn_kv_send(builder.handle, kv, ranged(rand, 0, steps - 1), ranged(rand, 0, tokens), nil)
    end,
  }, function(sum)
    sum:number(lib.gdn_kv_available(kv))
    for block = -1, blocks do sum:number(lib.gdn_kv_holders(kv, block)) end
    for k = -1, rows do
      local length = lib.gdn_kv_length(kv, k)
      sum:number(length)
      sum:number(lib.gdn_kv_sole(kv, k))
      if k >= 0 and k < rows then sum:array(lib.gdn_kv_table(kv) + k * columns, length) end
    end
    for step = -1, steps do
      local mapping = lib.gdn_kv_mapping(kv, step)
      sum:number(mapping == nil and 0 or 1)
      if mapping ~= nil then sum:array(mapping, tokens) end
      local there = lib.gdn_kv_device_mapping(kv, step)
      sum:number(there == nil and 0 or 1)
      if there ~= nil then
        for _, word in ipairs(driver:read(ffi.cast("int32_t *", there), 2 * tokens)) do sum:number(word) end
      end
    end
    if driver then
      local there = driver:read(ffi.cast("int32_t *", lib.gdn_kv_device_table(kv)), rows * columns)
      for _, word in ipairs(there) do sum:number(word) end
    end
    sum:text(ffi.string(lib.gdn_last_error(builder.handle)))
  end, function()
    lib.gdn_kv_free(kv)
    builder:close()
  end
end

local function heap_world(rand)
  local out, capacity, places, keys = ffi.new "gdn_heap *[1]", rand(1, 9), int32s(3 * 12), doubles(12)
  assert(lib.gdn_heap_new(capacity, out) == 0)
  local h, items, work = out[0], int32s(12), int32s(3 * 12)
  local function key() return ({ 0, -0.0, 1, 1, 2, 0 / 0, 1 / 0, -1 / 0 })[rand(1, 8)] end
  local a, b, c, order, swaps, moved = int32s(12), int32s(12), int32s(12), int32s(12), int32s(24), 0
  local function sort()
    local n = rand(-1, 12)
    for k = 0, 11 do items[k], keys[k] = rand(0, 11), key() end
    lib.gdn_sort_by_key(n, keys, items, work)
    return 0
  end
  local function reorder()
    local n = ranged(rand, 0, 9)
    for k = 0, 11 do a[k], b[k], c[k] = rand(0, 4), rand(0, 3), rand(0, 4) end
    moved = lib.gdn_reorder(n, rand(0, 3), a, b, c, order, swaps, places)
    return moved
  end
  local function set() return lib.gdn_heap_set(h, ranged(rand, 0, capacity - 1), key(), key()) end
  return {
    set = set, set_more = set,
    remove = function() return lib.gdn_heap_remove(h, ranged(rand, 0, capacity - 1)) end,
    clear = function()
      if rand(1, 9) == 1 then lib.gdn_heap_clear(h) end
      return 0
    end,
    reserve = function()
      local wanted = capacity + rand(-1, 1)
      local status = wanted > 12 and 0 or lib.gdn_heap_reserve(h, wanted)
      if wanted <= 12 then capacity = math.max(capacity, wanted) end
      return status
    end,
    sort = sort, reorder = reorder,
  }, function(sum)
    sum:number(lib.gdn_heap_size(h))
    sum:number(lib.gdn_heap_first(h))
    for id = -1, capacity do sum:number(lib.gdn_heap_key(h, id)) end
    sum:array(items, 12)
    sum:array(order, 12)
    sum:array(swaps, 2 * math.max(moved, 0))
  end, function() lib.gdn_heap_free(h) end
end

describe("Plays", function()
  it("of slot pools go as they went", function() play_all("slot-plays", 150, 100, slots_world) end)
  it("of attention blocks go as they went", function() play_all("block-plays", 100, 100, blocks_world) end)
  it("of attention blocks that a device has as well go as they went", function()
    local driver = drivers.open "fake"
    play_all("block-plays-cuda", 40, 60, blocks_world, driver)
    driver:close()
  end)
  it("of heaps and orders go as they went", function() play_all("heap-plays", 100, 150, heap_world) end)
end)
