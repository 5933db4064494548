-- Who of a queue is to be matched again: what gdn_index_list_changed says, against has_changed of each.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local small = require "spec.support.small_index"

local PATHS = { "ab", "abcd", "x", "xyz", "q", "abef", "k", "m" }

local function column(values) return ffi.new("int32_t[8]", values) end

-- Each path waits for what it does not find yet.
local function watch_all(index)
  local watches, sought = ffi.new "gdn_index_watch[8]", ffi.new "int32_t[8]"
  for k, path in ipairs(PATHS) do
    local ids, n = small.ids_of(path)
    index:match(ids, n, 4 * n)
    index:watch(ids, n, 4 * n, watches[k - 1])
    sought[k - 1] = n
  end
  return watches, sought
end

local next_of, num_ids = column { 3, 0, 5, 1, 7, 4, -1, 6 }, column { 2, 4, 1, 3, 1, 4, 1, 1 }

local function listed(index, watches, sought, first, most)
  local out, list = ffi.new("int32_t[9]", -7), {}
  local n = index:list_changed(watches, sought, num_ids, next_of, first, most, out)
  for k = 0, n - 1 do list[k + 1] = out[k] end
  return list
end

local function one_by_one(index, watches, sought, first, most)
  local list, i = {}, first
  while i >= 0 and most > 0 do
    if sought[i] ~= num_ids[i] or index:has_changed(watches[i]) then list[#list + 1] = i end
    i, most = next_of[i], most - 1
  end
  return list
end

describe("A queue that waits for an index", function()
  it("is told whom a match may find something else for, in its order", function()
    local index = small.new()
    small.publish(index, "abzz", small.slots_of())
    small.step(index)
    local watches, sought = watch_all(index)
    assert.are.same({}, listed(index, watches, sought, 2, 8))
    for _, path in ipairs { "abcd", "xyz", "m", "nobody" } do
      small.publish(index, path, small.slots_of())
      small.step(index)
      for first = -1, 7 do
        for most = 0, 9 do
          assert.are.same(one_by_one(index, watches, sought, first, most),
            listed(index, watches, sought, first, most), path .. first .. most)
        end
      end
    end
    assert.are.same({ 2, 7 }, listed(index, watches, sought, 2, 8)) -- of 2, 5, 4, 7, 6
    assert.are.same({ 3, 1 }, listed(index, watches, sought, 0, 3)) -- of 0, 3, 1
    index:close()
  end)

  it("needs no watch of those who were not matched with all that is known now", function()
    local index = small.new()
    local sought = column { -1, -1, -1, 1, -1, -1, -1, -1 }
    assert.are.same({ 0, 3, 1 }, listed(index, nil, sought, 0, 3))
    sought[3] = 3
    local out = column {}
    assert.are.equal(-1, lib.gdn_index_list_changed(index.handle, nil, sought, num_ids, next_of, 0, 3, out))
    assert.are.equal("watch is NULL", index:message())
    index:close()
  end)
end)
