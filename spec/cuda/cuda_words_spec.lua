-- What a host does with a device, from the driver's first call to the last, each of which fails once: what is
-- said, by which function, and what the counters say then. Drivers of each version, and devices of each
-- number. Against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"

local notes = noted.new "cuda-"
local note, check = notes.note, notes.check

-- Addresses differ, and a library without a kernel says so instead of what failed.
local function plain(text)
  return (text:gsub("0x%x+", "ADDRESS"):gsub("gdnmeta was built without.*", "without nvcc"))
end

describe("A driver", function()
  local driver
  before_each(function()
    notes.clear()
    driver = drivers.open "fake"
  end)
  after_each(function()
    driver.lib.fake_reset()
    driver.lib.fake_devices(1)
    driver.lib.fake_version(13000)
    driver:close()
  end)

  local OPTIONS = { device = "cuda", max_num_seqs = 500, num_speculative_tokens = 3, num_groups = 12,
                    num_slots = 20000, max_num_batched_tokens = 4096, check = true }

  -- The functions in turn; the first that fails is the last.
  local function play(stream, pool)
    local kv, batch
    local builder, message = gdn.builder(OPTIONS)
    local said = { builder and "builder" or "builder: " .. message }
    local function step(name, status)
      if status == nil or status == true then return true end
      said[#said + 1] = name .. ": " .. ffi.string(lib.gdn_last_error(builder.handle))
      return tonumber(status) == 0 and table.remove(said) and true
    end
    local function rows(n)
      batch:clear()
      for row = 0, n - 1 do
        batch:push(row, 1 + row % 4, 40, true, row % 4, 1 + row % 2)
      end
      return lib.gdn_build(builder.handle, batch.rows, stream)
    end
    local function all()
      batch = builder:batch()
      for g = 0, 11 do
        for i = 0, 1999 do builder:table(g)[i] = 1 + (i * 7919 + g) % 19000 end
      end
      if not step("small step", rows(3)) or not step("large step", rows(499)) then return end
      if not step("check", lib.gdn_check(builder.handle, stream)) then return end
      local b = ffi.new "uint8_t[16]"
      local meta = lib.gdn_builder_metadata(builder.handle)
      if not step("read", lib.gdn_builder_read(builder.handle, b, meta.spec_query_start_loc.data, 16)) then
        return
      end
      local states = ffi.new("gdn_state_pools", ffi.sizeof "gdn_state_pools")
      local pools = ffi.new("void *[1]", pool)
      states.num_pools, states.pools, states.slot_bytes, states.spec_rows = 1, pools, 1, 2
      if not step("bring", lib.gdn_bring_states(builder.handle, states, stream)) then return end
      kv = ffi.new "gdn_kv *[1]"
      local config = ffi.new("gdn_kv_config", 8, 4, 4, 4, 1)
      if not step("kv", lib.gdn_kv_new(builder.handle, config, kv)) then return end
      lib.gdn_kv_extend(kv[0], 1, 2)
      if not step("send", lib.gdn_kv_send(builder.handle, kv[0], 0, 4, stream)) then return end
      local status = lib.gdn_builder_borrow_device_table(builder.handle, 1, pool, 4, 500)
      if not step("borrow", status) then return end
      lib.gdn_builder_poison(builder.handle)
      step("step after poison", rows(2))
    end
    if builder then
      all()
      local c = builder:counters()
      said[#said + 1] = ("%d launches, %d in the ring, %d waits, %d skipped"):format(c.launches,
        c.ring_launches, c.ring_waits, c.skipped)
      if kv and kv[0] ~= nil then lib.gdn_kv_free(kv[0]) end
      if batch then batch:close() end
      builder:close()
    end
    return plain(table.concat(said, "; "))
  end

  it("of which each call fails once, says so", function()
    local stream, pool, live = driver:stream(), driver:int32(2 ^ 20), driver:count "live"
    note("none", play(stream, pool))
    for _, current in ipairs { true, false } do
      driver:call("cuCtxSetCurrent", current and driver.context or nil)
      for n = 1, 400 do
        driver.lib.fake_fail(n, 719)
        local said = play(stream, pool)
        local failed = ffi.string(driver.lib.fake_failed_call())
        if failed == "" then break end
        -- Without nvcc it says that there is no kernel, instead of the driver's error.
        if failed == "cuModuleLoadData" then said = said:match "^builder: " .. "no kernel could be loaded" end
        note(n .. " " .. failed, said, driver:count "live" - live)
        driver.lib.fake_reset()
      end
    end
    driver:call("cuCtxSetCurrent", driver.context)
    check "words"
  end)

  it("of any version and number of devices is taken or refused", function()
    for _, version in ipairs { 0, 999, 1000, 11080, 12000, 12009, 12010, 12011, 12019, 12999, 13000 } do
      driver.lib.fake_version(version)
      local builder, message = gdn.builder { device = "cuda" }
      note("version", version, builder and "taken" or message)
      if builder then builder:close() end
    end
    driver.lib.fake_version(13000)
    for devices = 0, 3 do
      driver.lib.fake_devices(devices)
      for _, current in ipairs { true, false } do
        driver:call("cuCtxSetCurrent", current and driver.context or nil)
        for _, device in ipairs { "cuda", "auto", "cuda:0", "cuda:1", "cuda:2", "cuda:3" } do
          local builder, message = gdn.builder { device = device }
          note("devices", devices, current, device, builder and builder.device or message)
          if builder then builder:close() end
        end
      end
      driver:call("cuCtxSetCurrent", driver.context)
    end
    check "versions"
  end)
end)
