-- Payloads that do not fit into a launch, and what may still be on its way when the host goes on. The
-- fake holds work back until a call waits, so a buffer that is reused too soon would show.
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

local ROWS, GROUPS, BUFFERS = 512, 9, 4

describe("While builds are in flight", function()
  local driver, builder, batch, stream
  before_each(function()
    driver = drivers.open "fake"
    stream = driver:stream()
    builder = assert(gdn.builder { device = "cuda", max_num_seqs = ROWS, num_groups = GROUPS,
      num_slots = 2^22, num_speculative_tokens = 3, max_num_batched_tokens = 4 * ROWS })
    batch = assert(builder:batch())
  end)
  after_each(function()
    driver.lib.fake_hold(0)
    batch:close()
    builder:close()
    assert.are.same({ 1, 0 }, { driver:count "live", driver:count "overruns" }) -- the spec's own context
    driver:close()
  end)

  local function fill(rows, base)
    for g = 0, GROUPS - 1 do
      local cells = builder:table(g)
      for i = 0, ROWS * 4 - 1 do cells[i] = base + i * 1000 end
    end
    batch:clear()
    for row = 0, rows - 1 do assert(batch:push(row, 4, 40, true, 3, 1 + row % 4)) end
  end

  local function counts()
    local c = builder:counters()
    return { c.launches, c.ring_launches, c.ring_waits }
  end

  -- The device wrote what the arrays held when build was called, not what they hold now.
  local function check(rows, base)
    local states = builder.metadata:group(GROUPS - 1).spec_state_indices_tensor
    assert.are.equal(base, states[0])
    assert.are.equal(base + (rows * 4 - 1) * 1000, states[rows * 4 - 1])
    assert.are.equal(1 + (rows - 1) % 4, builder.metadata.num_accepted_tokens[rows - 1])
  end

  for _, rows in ipairs { 20, ROWS } do
    it("the host may reuse its arrays at once: " .. rows .. " rows", function()
      driver.lib.fake_hold(1)
      fill(rows, 1)
      assert(builder:build(batch, stream))
      fill(rows, 500)
      for row = 0, rows - 1 do batch.rows.num_accepted_tokens[row] = 4 end
      driver.lib.fake_hold(0)
      check(rows, 1)
      assert.are.same({ 1, rows == ROWS and 1 or 0, 0 }, counts())
    end)
  end

  it("a build waits when every buffer is in flight, and counts that", function()
    local waits = driver:count "waits"
    driver.lib.fake_hold(1)
    for i = 1, BUFFERS do
      fill(ROWS, i)
      assert(builder:build(batch, stream))
    end
    assert.are.same({ BUFFERS, BUFFERS, 0 }, counts())
    assert.are.equal(waits, driver:count "waits")
    fill(ROWS, 77)
    assert(builder:build(batch, stream))
    assert.are.same({ BUFFERS + 1, BUFFERS + 1, 1 }, counts())
    check(ROWS, 77)
    for i = 1, BUFFERS do
      fill(ROWS, i)
      assert(builder:build(batch, stream))
    end
    assert.are.same({ 2 * BUFFERS + 1, 2 * BUFFERS + 1, 1 }, counts())
    check(ROWS, BUFFERS)
  end)

  it("a small step needs no buffer, and never waits", function()
    driver.lib.fake_hold(1)
    for i = 1, 3 * BUFFERS do
      fill(20, i)
      assert(builder:build(batch, stream))
    end
    assert.are.same({ 3 * BUFFERS, 0, 0 }, counts())
    check(20, 3 * BUFFERS)
  end)

  it("a buffer that another stream has left is taken first", function()
    local other = driver:stream()
    driver.lib.fake_hold(1)
    for i = 1, BUFFERS do
      fill(ROWS, i)
      assert(builder:build(batch, i == 3 and other or stream))
    end
    driver:call("cuStreamSynchronize", other)
    fill(ROWS, 9)
    assert(builder:build(batch, stream))
    assert.are.equal(0, builder:counters().ring_waits)
    check(ROWS, 9)
  end)

  it("a builder can be closed", function()
    driver.lib.fake_hold(1)
    for i = 1, BUFFERS do
      fill(ROWS, i)
      assert(builder:build(batch, stream))
    end
    builder:close()
  end)
end)
