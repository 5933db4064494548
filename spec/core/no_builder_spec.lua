-- What functions say of no builder: all of their output is written, as of a builder that is nothing.
local ffi = require "ffi"
local lib = require "gdnmeta.native"

local function garbage(name)
  local memory = ffi.new(name)
  ffi.fill(memory, ffi.sizeof(name), 0x5a)
  return memory
end

describe("Of no builder", function()
  it("all counters are 0", function()
    local got, zeros = garbage "gdn_counters", ffi.new "gdn_counters"
    lib.gdn_builder_counters(nil, got)
    assert.are.equal(ffi.string(zeros, ffi.sizeof(zeros)), ffi.string(got, ffi.sizeof(got)))
  end)

  it("all numbers are 0, but for the device, which is the CPU", function()
    local got, want = garbage "gdn_builder_info", ffi.new "gdn_builder_info"
    want.device = lib.GDN_DEVICE_CPU
    lib.gdn_builder_describe(nil, got)
    assert.are.equal(ffi.string(want, ffi.sizeof(want)), ffi.string(got, ffi.sizeof(got)))
  end)

  it("the configuration is the default one", function()
    local got, want = garbage "gdn_config", ffi.new "gdn_config"
    lib.gdn_config_init(want)
    lib.gdn_builder_config(nil, got)
    assert.are.equal(ffi.string(want, ffi.sizeof(want)), ffi.string(got, ffi.sizeof(got)))
  end)

  it("the last error is that there is none", function()
    assert.are.equal("the builder is NULL", ffi.string(lib.gdn_last_error(nil)))
  end)
end)
