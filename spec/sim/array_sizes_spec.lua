-- Memory of the simulator's arrays: a number for each request, and no more; and numbers of a trace's blocks.
local block_ids = require "gdnmeta.sim.lab.block_ids"
local by_class = require "gdnmeta.sim.by_class"
local counters = require "gdnmeta.sim.counters"
local ffi = require "ffi"
local hits = require "gdnmeta.sim.hits"

-- Bytes of each array of an object, by name.
local function arrays(object)
  local bytes = {}
  for name, value in pairs(object) do
    if type(value) == "cdata" then bytes[name] = ffi.sizeof(value) end
  end
  return bytes
end

describe("Arrays of a run #lua", function()
  it("have a number for each request, whose numbers begin with 1", function()
    for _, n in ipairs { 0, 1, 7 } do
      local requests = {}
      for i = 1, n do requests[i] = { class = "c" .. i % 2 } end
      local classes = n > 0 and by_class.of(requests) or nil
      if classes then assert.are.equal(4 * (n + 1), ffi.sizeof(classes.of)) end
      local wide, narrow = 8 * (n + 1), 4 * (n + 1)
      local names = classes and #classes.names or 0
      assert.are.same({
        arrival = wide, first = wide, last = wide, start = wide, stall = wide, got = narrow, done = narrow,
        waits = narrow, attained = narrow, gap_of = 4 * 66, class_gaps = 4 * (names + 1),
      }, arrays(counters.new(n, classes)))
      assert.are.same({ began_before = narrow }, arrays(hits.new({}, n)))
    end
  end)

  it("number the blocks of a trace as they come, as many as there are", function()
    local requests = { { blocks = { "x", 7, "y" } }, {}, { blocks = { 7, "z" } }, { blocks = {} } }
    local ids = block_ids.of(requests)
    assert.are.equal(4, ids.distinct)
    assert.are.equal(3 * 8, ffi.sizeof(ids.array))
    for k, want in pairs { { 1, 2, 3 }, [3] = { 2, 4 }, [4] = {} } do
      local array, n = ids:get(requests[k].blocks)
      local list = {}
      for i = 1, n do list[i] = tonumber(array[i - 1]) end
      assert.are.same(want, list)
    end
    ids = block_ids.of { {} }
    assert.are.same({ 0, 8 }, { ids.distinct, ffi.sizeof(ids.array) })
  end)
end)
