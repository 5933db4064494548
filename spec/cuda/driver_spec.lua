-- What a test that failed leaves open goes with the driver of the specs: no later one meets it.
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

describe("The driver of the specs", function()
  it("frees at its end what was made on it, before its context is gone", function()
    local driver = drivers.open "fake"
    driver:close()
    local live = driver:count "live"
    driver = drivers.open "fake"
    local builder = assert(gdn.builder { device = "cuda" })
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 9, blocks = { 3 }, prompt_done = true }
    assert(builder:build(batch))
    driver.lib.fake_hold(1)
    assert.is_true(driver:count "live" > live)
    driver:close()
    assert.matches("closed", tostring(batch))
    assert.matches("closed", tostring(builder))
    assert.are.equal(live, driver:count "live")
  end)

  it("leaves alone what was made before it, and waits for the last of several", function()
    local before = assert(gdn.builder { device = "cpu" })
    local first, second = drivers.open "fake", drivers.open "fake"
    local builder = assert(gdn.builder { device = "cuda" })
    second:close()
    assert.not_matches("closed", tostring(builder))
    first:close()
    assert.matches("closed", tostring(builder))
    assert.not_matches("closed", tostring(before))
    before:close()
  end)
end)
