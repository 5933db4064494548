-- A captured graph reads the builder's buffers: replayed after other builds it finds their contents.
--   GDN_CUDA_SPECS=cuda   on a real device
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"
local ROWS = 8

-- Fields that a decode graph reads, and their longest lengths in bytes, with S = 2.
local FIELDS = { non_spec_query_start_loc = (ROWS + 1) * 4, non_spec_state_indices_tensor = ROWS * 4,
  spec_query_start_loc = (ROWS + 1) * 4, spec_state_indices_tensor = ROWS * 12,
  num_accepted_tokens = ROWS * 4,
  spec_read_state_indices = ROWS * 4, spec_conv_shift = ROWS * 4 }

describe("A captured graph", function()
  local driver, builder, batch, stream
  setup(function()
    driver = drivers.open(KIND)
    stream = driver:stream()
  end)
  teardown(function() driver:close() end)
  before_each(function()
    builder = assert(gdn.builder { device = "cuda", max_num_seqs = ROWS, full_cuda_graph = true,
      num_groups = 2, num_speculative_tokens = 2, num_slots = 1000 })
    batch = assert(builder:batch())
    for g = 0, 1 do
      for row = 0, ROWS - 1 do
        local first = 100 * g + 10 * row + 1
        builder:set_blocks(g, row, { first, first + 1, first + 2 })
      end
    end
  end)
  after_each(function()
    batch:close()
    builder:close()
    driver:free_all()
  end)

  local function decode(rows)
    batch:clear()
    for row = 0, rows - 1 do assert(batch:push(ROWS - 1 - row, 1, 20 + row, true)) end
    assert(batch:pad(ROWS, ROWS))
    return assert(builder:build(batch, stream))
  end

  local function speculative(rows)
    batch:clear()
    for row = 0, rows - 1 do assert(batch:push(row, 3, 20 + row, true, 2, 1 + row % 3)) end
    assert(batch:pad(ROWS, ROWS * 3))
    return assert(builder:build(batch, stream))
  end

  -- Copies of the fields that the step has, as nodes of a graph: { executable, name -> device memory }.
  local function capture(meta)
    local graph, executable, copies = ffi.new "void *[1]", ffi.new "void *[1]", {}
    local found = {}
    for name, bytes in pairs(FIELDS) do
      if meta[name] then found[name] = { meta[name].data, bytes, driver:int32(bytes / 4) } end
    end
    driver:call("cuStreamBeginCapture_v2", stream, 2)
    for name, copy in pairs(found) do
      driver:call("cuMemcpyDtoDAsync_v2", ffi.cast("uint64_t", copy[3]), ffi.cast("uint64_t", copy[1]),
                  copy[2], stream)
      copies[name] = copy
    end
    driver:call("cuStreamEndCapture", stream, graph)
    driver:call("cuGraphInstantiateWithFlags", executable, graph[0], 0)
    driver:call("cuGraphDestroy", graph[0])
    return { executable[0], copies }
  end

  local function replay(graph)
    driver:call("cuGraphLaunch", graph[1], stream)
    driver:call("cuStreamSynchronize", stream)
    local seen = {}
    for name, copy in pairs(graph[2]) do seen[name] = driver:read(copy[3], copy[2] / 4) end
    return seen
  end

  local function flat(view)
    local out = {}
    for i = 0, #view - 1 do out[i + 1] = view[i] end
    return out
  end

  local function check(graph, meta)
    local count = 0
    for name, values in pairs(replay(graph)) do
      local want = flat(meta[name])
      local got = {}
      for i = 1, #want do got[i] = values[i] end
      assert.are.same(want, got, name)
      count = count + 1
    end
    assert.is_true(count >= 2)
  end

  it("finds what later builds wrote", function()
    local decodes = capture(decode(ROWS))
    local drafts = capture(speculative(ROWS))
    for _, rows in ipairs { 3, 8, 1, 5 } do
      check(decodes, decode(rows))
      check(drafts, speculative(rows))
    end
    local meta = speculative(2)
    assert.are.same({ { 1, 2, 3 }, { 11, 12, 13 }, { 0, 0, 0 } },
                    { unpack(meta.spec_state_indices_tensor:totable(), 1, 3) })
    local values = replay(drafts).spec_state_indices_tensor
    assert.are.same({ 1, 2, 3, 11, 12, 13, 0, 0 }, { unpack(values, 1, 8) })
    for _, graph in ipairs { decodes, drafts } do driver:call("cuGraphExecDestroy", graph[1]) end
  end)

  it("can be made of a capture step, whose slots are null", function()
    local meta = assert(builder:capture({ query_start_loc = { 0, 3, 6, 9, 12, 15, 18, 21, 24 } }, stream))
    local graph = capture(meta)
    check(graph, meta)
    check(graph, speculative(4))
    driver:call("cuGraphExecDestroy", graph[1])
  end)

  it("reads addresses that no build moves", function()
    local first = {}
    local function addresses(meta)
      for name in pairs(FIELDS) do
        for g = 0, 1 do
          local view = meta:group(g)[name]
          local key = name .. g
          if view then
            local address = tonumber(ffi.cast("uintptr_t", view.data))
            assert.are.equal(first[key] or address, address, key)
            first[key] = address
          end
        end
      end
    end
    for _, rows in ipairs { 8, 1, 4 } do
      addresses(decode(rows))
      addresses(speculative(rows))
    end
    batch:clear()
    batch:push(0, 3, 20, true, 2, 1)
    batch:push(1, 1, 20, true)
    batch:push(2, 70, 70, false)
    addresses(assert(builder:build(batch, stream)))
    local count = 0
    for _ in pairs(first) do count = count + 1 end
    assert.are.equal(14, count)
  end)
end)
