-- Builders of two devices, used in turn by one thread. On a real driver the machine must have two GPUs.
--   GDN_CUDA_SPECS=cuda   on real devices
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"
local ROWS, ROUNDS = 64, 100

local function device_count(driver)
  local count = ffi.new "int[1]"
  driver:call("cuDeviceGetCount", count)
  return count[0]
end

describe("Two devices", function()
  local driver, contexts, builders
  local pointer_t = ffi.typeof "void *[1]"

  before_each(function()
    driver, contexts, builders = drivers.open(KIND, false), {}, {}
    if KIND == "fake" then driver.lib.fake_devices(2) end
    if device_count(driver) < 2 then return end
    for d = 0, 1 do
      local context = pointer_t()
      driver:call("cuDevicePrimaryCtxRetain", context, d)
      contexts[d] = context[0]
      builders[d] = assert(gdn.builder { device = "cuda:" .. d, max_num_seqs = ROWS,
                                         max_num_batched_tokens = 1024, num_groups = 2 })
    end
  end)

  after_each(function()
    for d, builder in pairs(builders) do
      builder:close()
      driver:call("cuDevicePrimaryCtxRelease_v2", d)
    end
    if KIND == "fake" then driver.lib.fake_devices(1) end
    driver:close()
  end)

  -- Row i of builder d in a round: its slots differ from those of every other round and device.
  local function slots_of(d, round)
    local first, list = (7 * round + 31 * d) % (ROWS - 8), {}
    for i = 1, 8 do list[i] = first + i end
    return list
  end

  local function build(d, round, batch, stream)
    batch:clear()
    for _, slot in ipairs(slots_of(d, round)) do
      batch:add { query_len = 1, seq_len = 9, blocks = { { slot }, { ROWS + 1 - slot } }, prompt_done = true }
    end
    return assert(builders[d]:build(batch, stream))
  end

  it("build in turn, whichever context is current, and find their own values", function()
    if not builders[1] then return print "\ncuda_devices_spec: skipped, wants two GPUs" end
    local batches, streams = {}, {}
    for d = 0, 1 do
      batches[d] = assert(builders[d]:batch())
      driver:call("cuCtxSetCurrent", contexts[d])
      local stream = pointer_t()
      driver:call("cuStreamCreate", stream, 1)
      streams[d] = stream[0]
    end
    for round = 1, ROUNDS do
      driver:call("cuCtxSetCurrent", contexts[round % 2]) -- right for one of them, wrong for the other
      for d = 0, 1 do build(d, round, batches[d], streams[d]) end
      for d = 0, 1 do
        local meta, mirrored = builders[d].metadata, {}
        for i, slot in ipairs(slots_of(d, round)) do mirrored[i] = ROWS + 1 - slot end
        assert.are.same(slots_of(d, round), meta.non_spec_state_indices_tensor:totable())
        assert.are.same(mirrored, meta:group(1).non_spec_state_indices_tensor:totable())
      end
    end
    for d = 0, 1 do
      assert.are.equal(ROUNDS, builders[d]:counters().launches)
      driver:call("cuCtxSetCurrent", contexts[d])
      driver:call("cuStreamDestroy_v2", streams[d])
      batches[d]:close()
    end
  end)

  it("refuse each other's memory", function()
    if not builders[1] then return end
    driver:call("cuCtxSetCurrent", contexts[1])
    local memory = driver:int32(ROWS)
    local ok, message = builders[0]:borrow_device_seq_lens(memory, ROWS)
    assert.is_nil(ok)
    assert.is_truthy(message:find("is memory of cuda:1, want cuda:0", 1, true), message)
    assert.is_true(builders[1]:borrow_device_seq_lens(memory, ROWS))
    driver:free(memory)
  end)
end)
