-- Memory that a device lends to the blocks of an attention cache: every driver call fails once, what is said
-- of it, and that all of it goes back.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local each_call = require "spec.support.note_each_call"
local noted = require "spec.support.noted"

local ROWS, COLUMNS, STEPS, TOKENS = 3, 4, 2, 8
local notes = noted.new "cuda-"
local note, check = notes.note, notes.check

describe("Blocks of an attention cache on a device", function()
  local driver, builder
  before_each(function()
    notes.clear()
    driver = drivers.open "fake"
    builder = assert(gdn.builder { device = "cuda", max_num_seqs = ROWS, max_num_batched_tokens = TOKENS })
  end)
  after_each(function()
    driver.lib.fake_reset()
    driver:close()
  end)

  local function make()
    local out = ffi.new "gdn_kv *[1]"
    local status = lib.gdn_kv_new(builder.handle, ffi.new("gdn_kv_config", 12, 4, ROWS, COLUMNS, STEPS), out)
    return tonumber(status), out[0]
  end

  local function said() return ffi.string(lib.gdn_last_error(builder.handle)) end

  it("are refused when a call fails, and what was lent goes back", function()
    each_call(driver, note, "make", function()
      local live = driver:count "live"
      local status, kv = make()
      if status == 0 then
        driver.lib.fake_reset() -- what fails while memory goes back is no one's to hear
        lib.gdn_kv_free(kv)
      end
      assert.are.equal(live, driver:count "live")
      return status, said()
    end)
    check "lent"
  end)

  it("are sent again after a call that failed", function()
    local _, kv = make()
    for _, value in ipairs(driver:read(lib.gdn_kv_device_table(kv), ROWS * COLUMNS)) do
      assert.are.equal(0, value) -- as long as nothing was sent
    end
    for s = 0, STEPS - 1 do
      for _, value in ipairs(driver:read(lib.gdn_kv_device_mapping(kv, s), 2 * TOKENS)) do
        assert.are.equal(0, value)
      end
    end
    for row = 0, ROWS - 1 do assert.are.equal(0, tonumber(lib.gdn_kv_extend(kv, row, 1 + row))) end
    local mapping = ffi.cast("int64_t *", lib.gdn_kv_mapping(kv, 1))
    for t = 0, TOKENS - 1 do mapping[t] = 100 + t end
    local sent = {}
    each_call(driver, note, "send", function()
      return tonumber(lib.gdn_kv_send(builder.handle, kv, 1, TOKENS, nil)), said()
    end)
    for row = 0, ROWS - 1 do
      sent[row + 1] = driver:read(lib.gdn_kv_device_table(kv) + row * COLUMNS, 1 + row)
    end
    note("table", unpack(sent))
    local words = driver:read(lib.gdn_kv_device_mapping(kv, 1), 2 * TOKENS)
    for t = 1, TOKENS do assert.are.equal(99 + t, words[2 * t - 1]) end
    -- A row that was extended and is empty again has nothing to send, and what it has next is sent.
    local function copies()
      local before = driver:count "copies"
      assert(lib.gdn_kv_send(builder.handle, kv, 1, 0, nil) == 0)
      return driver:count "copies" - before
    end
    for n = 1, COLUMNS do
      assert(lib.gdn_kv_clear(kv, 2) == 0)
      assert(lib.gdn_kv_extend(kv, 2, n) == 0 and lib.gdn_kv_clear(kv, 2) == 0)
      note("empty again", n, copies())
      assert(lib.gdn_kv_extend(kv, 2, n) == 0)
      note("extended", n, copies(), driver:read(lib.gdn_kv_device_table(kv) + 2 * COLUMNS, n))
      note("nothing new", n, copies())
    end
    lib.gdn_kv_free(kv)
    check "sent"
  end)
end)
