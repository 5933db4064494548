-- A fork copies a builder on the CPU; one on a device stays with its process, and a child is told so.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"

ffi.cdef [[
int fork(void);
int waitpid(int child, int *status, int options);
void _exit(int status);
]]

local EDEVICE = -5

-- What body() returns in a child, as one short string; an error in it is one, too.
local function in_child(body)
  local path = os.tmpname()
  local child = ffi.C.fork()
  assert(child >= 0, "fork failed")
  if child == 0 then
    local _, said = pcall(body)
    local file = io.open(path, "wb")
    file:write(tostring(said))
    file:close()
    ffi.C._exit(0) -- the child runs nothing of this process's end, its finalizers least of all
  end
  local status = ffi.new "int[1]"
  assert(ffi.C.waitpid(child, status, 0) == child)
  assert(status[0] == 0, ("the child ended with status %d"):format(status[0]))
  local file = assert(io.open(path, "rb"))
  local said = file:read "*a"
  file:close()
  os.remove(path)
  return said
end

local function add_decode(builder)
  local batch = builder:batch()
  batch:add { query_len = 1, seq_len = 9, blocks = { 3 }, prompt_done = true }
  return batch
end

describe("After a fork", function()
  it("a builder on the CPU works on both sides, each with memory of its own", function()
    local builder = assert(gdn.builder { device = "cpu" })
    local batch = add_decode(builder)
    assert.are.equal("3", in_child(function()
      return assert(builder:build(batch)).non_spec_state_indices_tensor[0]
    end))
    local meta = assert(builder:build(batch))
    assert.are.equal(3, meta.non_spec_state_indices_tensor[0])
    builder:close()
  end)

  describe("of a process with a device", function()
    local driver, builder, batch
    before_each(function()
      driver = drivers.open "fake"
      builder = assert(gdn.builder { device = "cuda" })
      batch = add_decode(builder)
    end)
    after_each(function()
      builder:close()
      driver:close()
    end)

    local REFUSED = "the process forked after the builder was made, "
      .. "want a CUDA builder used where it was made"

    -- Message and code of a call that is refused, and how many calls of the driver it made.
    local function refusal(call)
      return function()
        driver.lib.fake_reset()
        local before = driver:count "launches"
        local _, message, code = call()
        return ("%s|%s|%d"):format(message, code, driver:count "launches" - before)
      end
    end
    local WANT = ("%s|%d|0"):format(REFUSED, EDEVICE)

    it("a build, a read and an error word are refused in the child, and the parent builds on", function()
      local meta = assert(builder:build(batch))
      assert.are.equal(WANT, in_child(refusal(function() return builder:build(batch) end)))
      assert.are.equal(WANT, in_child(refusal(function()
        return builder:borrow_device_table(0, ffi.cast("void *", 64), 1, 1)
      end)))
      assert.are.equal(WANT, in_child(refusal(function() return builder:take_device_error() end)))
      local said = in_child(function() return meta.non_spec_state_indices_tensor[0] end)
      assert.is_truthy(said:find(REFUSED, 1, true), said)
      assert(builder:build(batch))
      assert.are.equal(3, builder.metadata.non_spec_state_indices_tensor[0])
      assert.is_true(builder:peek_device_error())
    end)

    it("closing it in the child leaves the device alone, and what it lent", function()
      local kv = ffi.new "gdn_kv *[1]"
      assert(lib.gdn_kv_new(builder.handle, ffi.new("gdn_kv_config", 12, 4, 3, 2, 2), kv) == 0)
      assert.are.equal("0", in_child(function()
        local calls = driver:count "calls"
        lib.gdn_kv_free(kv[0])
        builder:close()
        return driver:count "calls" - calls
      end))
      assert(builder:build(batch))
      lib.gdn_kv_free(kv[0])
    end)

    it("a child may make one of its own, and its child is refused that one", function()
      assert.are.equal("3 " .. WANT, in_child(function()
        local own = assert(gdn.builder { device = "cuda" })
        local first = assert(own:build(add_decode(own))).non_spec_state_indices_tensor[0]
        return first .. " " .. in_child(refusal(function() return own:build(add_decode(own)) end))
      end))
    end)
  end)
end)
