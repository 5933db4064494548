-- The life of a builder: build, close, and use after closing.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"

local null = require("cjson").null

local function make(options)
  options.device = options.device or "cpu"
  return assert(gdn.builder(options))
end

local decode = require "spec.support.decode_step"

describe("builder:close", function()
  it("may be called twice, and whatever comes after it is an error", function()
    local builder = make {}
    local batch = builder:batch()
    builder:close()
    builder:close()
    local closed = "gdnmeta.Builder: closed"
    raises(closed, function() builder:build(batch) end)
    raises(closed, function() builder:build_raw {} end)
    raises(closed, function() builder:capture {} end)
    raises(closed, function() builder:batch() end)
    raises(closed, function() builder:table(0) end)
    raises(closed, function() builder:set_blocks(0, 0, {}) end)
    raises(closed, function() builder:borrow_table(0, nil) end)
    batch:push(0, 1, 1, false)
    assert.are.equal(1, batch.num_rows)
    batch:close()
  end)

  it("does not keep other builders from working", function()
    local first, second = make {}, make {}
    first:close()
    assert.are.same({ 3 }, assert(decode(second, second:batch(), 3)).non_spec_state_indices_tensor:totable())
    second:close()
  end)
end)

describe("builder:build", function()
  local builder, batch
  before_each(function()
    builder = make { max_num_seqs = 4 }
    batch = builder:batch()
  end)
  after_each(function() builder:close() end)

  it("returns the same object every time", function()
    local first = assert(decode(builder, batch, 3))
    local second = assert(decode(builder, batch, 2))
    assert.is_true(rawequal(first, second))
    assert.are.equal(2, second.step)
    assert.are.same({ 2 }, second.non_spec_state_indices_tensor:totable())
  end)

  it("fills an object that exists before, as step 0 of nothing", function()
    local meta = builder.metadata
    assert.are.same({ 0, 0 }, { meta.step, meta.num_rows })
    assert.is_nil(meta.non_spec_query_start_loc)
    assert.are.equal("gdnmeta.Metadata: step 0, 0 rows, 0 tokens", tostring(meta))
    assert.is_true(rawequal(meta, assert(decode(builder, batch, 3))))
    assert.are.equal(1, meta.step)
  end)

  it("leaves the metadata before it valid when it refuses", function()
    local meta = assert(decode(builder, batch, 3))
    local view = meta.non_spec_state_indices_tensor
    batch:clear()
    batch:push(0, 1, 0, true)
    local refused, message, code = builder:build(batch)
    assert.is_nil(refused)
    assert.are.equal("rows[0].seq_len = 0, want >= query_len = 1", message)
    assert.are.equal(-1, code)
    assert.are.same({ 3 }, view:totable())
    assert.are.equal(1, meta.num_decodes)
    assert.are.equal(1, meta.step)
    assert.is_nil((builder:build_raw { query_start_loc = {} }))
    assert.are.same({ 3 }, view:totable())
  end)

  it("wants an open batch of its own", function()
    local other = make {}
    local foreign, closed = other:batch(), builder:batch()
    closed:close()
    raises("gdnmeta.Builder:build: the batch belongs to another builder",
           function() builder:build(foreign) end)
    raises("gdnmeta.Builder:build: the batch is closed", function() builder:build(closed) end)
    local wanted = ", want a batch of this builder"
    raises("gdnmeta.Builder:build: batch = nil" .. wanted, function() builder:build() end)
    raises("gdnmeta.Builder:build: batch = 3" .. wanted, function() builder:build(3) end)
    raises("gdnmeta.Builder:build: batch = a table" .. wanted, function() builder:build {} end)
    raises("gdnmeta.Builder:build: batch = a table" .. wanted, function() builder:build(builder) end)
    raises("gdnmeta.Builder:build: batch = cdata struct gdn_batch *" .. wanted,
           function() builder:build(batch.rows) end)
    other:close()
  end)

  it("and the other methods want a colon", function()
    for _, name in ipairs { "batch", "build", "build_raw", "capture", "close", "table", "set_blocks",
                            "borrow_table", "borrow_device_table", "borrow_device_seq_lens",
                            "borrow_device_accepted", "take_device_error",
                            "peek_device_error", "take_check_result", "peek_check_result",
                            "counters", "bring_states", "bring_windows" } do
      local wanted = ("gdnmeta.Builder:%s: call it with a colon"):format(name)
      for _, argument in ipairs { batch, {}, 0, "s" } do
        raises(wanted, function() builder[name](argument) end)
      end
      raises(wanted, function() builder[name]() end)
    end
    assert(builder:build(batch))
  end)

  it("does not take a new builder for the one that a batch was made for", function()
    builder:close()
    builder = make { max_num_seqs = 4 } -- likely at the same address
    raises("gdnmeta.Builder:build: the batch belongs to another builder",
           function() builder:build(batch) end)
  end)

  it("takes a stream that is a pointer", function()
    assert(builder:build(batch, nil))
    assert(builder:build(batch, ffi.cast("void *", 0)))
    assert(builder:build(batch, ffi.new "int[1]"))
    assert(builder:build(batch, null))
    local one = { query_start_loc = { 0, 1 }, seq_lens = { 1 }, block_table = { { 1 } } }
    assert(builder:build_raw(one, ffi.new "int[1]"))
    assert(builder:capture(one, ffi.new "int[1]"))
    local wanted = ", want nil or a pointer"
    raises("gdnmeta.Builder:build: stream = 7" .. wanted, function() builder:build(batch, 7) end)
    raises("gdnmeta.Builder:build: stream = cdata int64_t" .. wanted,
           function() builder:build(batch, 7LL) end)
    raises('gdnmeta.Builder:build_raw: stream = "s"' .. wanted, function() builder:build_raw({}, "s") end)
    raises("gdnmeta.Builder:capture: stream = a table" .. wanted, function() builder:capture({}, {}) end)
  end)
end)
