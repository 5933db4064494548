-- States that rows ask to be kept before their end, under strict: worked by hand on either device, what is
-- refused, and what a check sees. The oracle (oracle_spec.lua, buckets_random_spec.lua) says the rest.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local one_builder = require "spec.support.one_builder"

local OPTIONS = { device = "cpu", max_num_seqs = 8, max_num_batched_tokens = 700, max_rows = 6,
                  num_slots = { 100, 90 }, num_groups = 2, num_speculative_tokens = 2,
                  max_blocks_per_row = 3, check = true }
local BUCKET = { full_cuda_graph = "mixed", num_speculative_tokens = 0, pad_slot_id = -1 }

local function decode(b)
  return { query_len = 1, seq_len = 51, prompt_done = true, blocks = { { b }, { b } } }
end
local function spec(b)
  return { query_len = 3, seq_len = 53, prompt_done = true, drafts = 2,
           blocks = { { b, b + 1, b + 2 }, { b, b + 1, b + 2 } } }
end
local function prompt(b, q, seq_len, len, slots)
  return { query_len = q, seq_len = seq_len, blocks = { { b }, { b } }, checkpoint_len = len,
           checkpoint_slot = slots }
end

-- A decode, 200 tokens after 40 computed ones of which 64 are kept, a prompt of 70 that keeps nothing, and
-- one of 130 that keeps 128.
local function rows()
  return { decode(1), prompt(2, 200, 240, 104, { 50, 60 }), prompt(3, 70, 70),
           prompt(4, 130, 130, 128, { 51, 61 }) }
end

describe("Checkpoints that rows ask for", function()
  local driver, builder, batch
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)
  local open_one, close = one_builder(after_each)

  local function open(changes)
    local options = {}
    for name, value in pairs(OPTIONS) do options[name] = value end
    for name, value in pairs(changes or {}) do options[name] = value end
    builder, batch = open_one(options)
  end

  local function build(list, padded_rows, padded_tokens)
    batch:clear()
    for _, row in ipairs(list) do assert(batch:add(row)) end
    if padded_rows then assert(batch:pad(padded_rows, padded_tokens)) end
    local meta, message, code = builder:build(batch)
    if meta then
      driver:call("cuStreamSynchronize", nil)
      assert.is_true(builder:peek_check_result())
    end
    return meta, message, code
  end

  for _, device in ipairs { "cpu", "cuda" } do
    it("stand at the prefills, on " .. device, function()
      open { device = device, num_speculative_tokens = 0 }
      local meta = assert(build(rows()))
      assert.are.same({ 64, 0, 128 }, meta.checkpoint_offsets:totable())
      assert.are.same({ 0, 4, 6, 9 }, meta.chunk_offsets:totable())
      assert.are.same({ 1, -1, 8 }, meta.checkpoint_chunk:totable())
      assert.are.same({ 50, 0, 51 }, meta.checkpoint_state_indices:totable())
      assert.are.same({ 60, 0, 61 }, meta:group(1).checkpoint_state_indices:totable())
      assert.are.same({}, { meta.checkpoint_every_n_tokens, meta.checkpoint_rows })
      meta = assert(build(rows(), 6, 420)) -- padding has no rows among the prefills
      assert.are.same({ 64, 0, 128 }, meta.checkpoint_offsets:totable())
      meta = assert(build { decode(1), prompt(2, 200, 240) })
      assert.is_nil(meta.checkpoint_offsets)
      assert.is_nil(meta.checkpoint_state_indices)
      assert.is_nil(meta.checkpoint_chunk)
      assert(build { decode(1) })
    end)

    it("stand at the rows without drafts of a speculative step, on " .. device, function()
      open { device = device }
      local list = rows()
      list[1] = spec(10)
      table.insert(list, 2, decode(20))
      local meta = assert(build(list))
      assert.are.same({ 0, 64, 0, 128 }, meta.checkpoint_offsets:totable())
      assert.are.same({ -1, 2, -1, 9 }, meta.checkpoint_chunk:totable())
      assert.are.same({ 0, 50, 0, 51 }, meta.checkpoint_state_indices:totable())
    end)

    it("have flashinfer's plan, on " .. device, function()
      open { device = device, num_speculative_tokens = 0, gdn_prefill_backend = "flashinfer" }
      local meta = assert(build(rows()))
      assert.is_nil(meta.chunk_offsets)
      assert.is_nil(meta.checkpoint_chunk)
      assert.are.same({ 64, 6 }, { meta.checkpoint_every_n_tokens, meta.num_checkpoints })
      assert.are.same({ 0, 3, 4, 6 }, meta.checkpoint_cu_starts:totable())
      assert.are.same({ 0, 0, 5 }, meta.checkpoint_rows:totable())
    end)

    it("have a bucket's lengths and one address in every step, on " .. device, function()
      local options = { device = device }
      for name, value in pairs(BUCKET) do options[name] = value end
      open(options)
      local seen
      for _, list in ipairs { rows(), { decode(1) }, {}, rows() } do
        local meta = assert(build(list, 6, 420))
        local kept = #list == 4
        assert.are.same(kept and { 64, 0, 128, 0, 0, 0, 0 } or { 0, 0, 0, 0, 0, 0, 0 },
                        meta.checkpoint_offsets:totable())
        assert.are.same(kept and { 1, -1, 8, -1, -1, -1, -1 } or { -1, -1, -1, -1, -1, -1, -1 },
                        meta.checkpoint_chunk:totable())
        for g = 0, 1 do
          assert.are.same(kept and { 50 + 10 * g, -1, 51 + 10 * g, -1, -1, -1, -1 }
                            or { -1, -1, -1, -1, -1, -1, -1 },
                          meta:group(g).checkpoint_state_indices:totable())
        end
        local at = { tostring(meta.checkpoint_offsets.data), tostring(meta.checkpoint_chunk.data),
                     tostring(meta:group(1).checkpoint_state_indices.data) }
        assert.are.same(seen or at, at)
        seen = at
      end
      assert(builder:capture { rows = 6, tokens = 420 })
      assert.are.equal(-1, builder.metadata.checkpoint_state_indices[0])
    end)
  end

  it("are no row's behind the last one", function()
    open { num_speculative_tokens = 0, gdn_prefill_backend = "flashinfer", checkpoint_any = true }
    for _, row in ipairs(rows()) do assert(batch:add(row)) end
    local c = batch.rows
    c.query_len[4], c.seq_len[4], c.checkpoint_len[4] = 100, 100, 32
    assert.are.equal(64, assert(builder:build(batch)).checkpoint_every_n_tokens)
  end)

  it("may stand within a chunk where the builder allows it", function()
    open { checkpoint_any = true }
    local meta = assert(build { decode(1), prompt(2, 200, 240, 41, { 50, 60 }),
                                prompt(3, 70, 70, 64, { 51, 61 }) })
    assert.are.same({ 1, 64 }, meta.checkpoint_offsets:totable())
    assert.are.same({ -1, 5 }, meta.checkpoint_chunk:totable())
  end)

  it("have slots of their own where tables are on the device, too", function()
    open { device = "cuda", num_groups = 1, num_slots = 100, num_speculative_tokens = 0 }
    -- A step before has 70 in the host's table: the host does not know what the device's has.
    assert(build { { query_len = 1, seq_len = 50, prompt_done = true, blocks = { { 70 } } },
                   { query_len = 40, seq_len = 40, blocks = { { 71 } } } })
    batch:clear()
    local memory = driver:int32(18)
    driver:write(memory, { 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0, 0, 6, 0, 0 })
    assert(builder:borrow_device_table(0, memory, 3, 6))
    local c = batch.rows
    assert(batch:push(0, 1, 51, true))
    assert(batch:push(1, 200, 240, false))
    c.checkpoint_len[1], c.checkpoint_slot[1] = 104, 70
    local meta = assert(builder:build(batch))
    assert.are.same({ 70 }, meta.checkpoint_state_indices:totable())
    assert.are.same({ 2 }, meta.prefill_state_indices:totable())
    for slot = 70, 71 do -- a step that is known already, and another one
      c.checkpoint_slot[1] = slot
      for _ = 1, 2 do
        assert.are.same({ slot }, assert(builder:build(batch)).checkpoint_state_indices:totable())
      end
    end
    c.checkpoint_slot[1] = 100
    local _, message = builder:build(batch)
    assert.are.equal("rows[1] group 0 checkpoint_slot = 100, want 1 .. 99 (num_slots - 1)", message)
    c.checkpoint_slot[1] = 70
    assert(builder:borrow_device_seq_lens(driver:int32(6), 6))
    _, message = builder:build(batch)
    assert.are.equal("rows[1].checkpoint_len = 104, want 0 while seq_lens are on the device", message)
    close()
    driver:free_all()
  end)

  -- { rows, reason }: of each the last row's checkpoint is wrong.
  local REFUSED = {
    { { spec(10), prompt(2, 200, 240, 40, { 50, 60 }) },
      "rows[1].checkpoint_len = 40, want 41 .. 239 (within the row's tokens), or 0" },
    { { prompt(2, 200, 240, 240, { 50, 60 }) },
      "rows[0].checkpoint_len = 240, want 41 .. 239 (within the row's tokens), or 0" },
    { { prompt(2, 200, 240, 128, { 50, 60 }) },
      "rows[0].checkpoint_len = 128, which is 88 tokens into the row, want a multiple of 64 "
        .. "(checkpoint_any = false)" },
    { { prompt(2, 1, 1, 1, { 50, 60 }) }, "rows[0].checkpoint_len = 1, want 0 in a row of one token" },
    { { decode(1), prompt(2, 200, 240, 104, { 50, 0 }) },
      "rows[1] group 1 checkpoint_slot = 0, want 1 .. 89 (num_slots - 1)" },
    { { decode(1), prompt(2, 200, 240, 104, { 100, 60 }) },
      "rows[1] group 0 checkpoint_slot = 100, want 1 .. 99 (num_slots - 1)" },
    { { decode(1), prompt(2, 200, 240, 104, { 50, 1 }) },
      "rows[1] group 1 checkpoint_slot = 1, want one that rows[0] does not write" },
    { { decode(1), prompt(2, 200, 240, 104, { 2, 60 }) },
      "rows[1] group 0 checkpoint_slot = 2, want one that rows[1] does not write" },
    { { prompt(2, 200, 200, 64, { 50, 60 }), prompt(3, 200, 200, 128, { 51, 60 }) },
      "rows[1] group 1 checkpoint_slot = 60, want another than rows[0] has" },
  }
  for n, case in ipairs(REFUSED) do
    it("are refused, with every output as it was: " .. n, function()
      for _, mixed in ipairs { false, "mixed" } do
        open { full_cuda_graph = mixed }
        local meta = assert(build(rows()))
        local was = { meta.step, unpack(meta.checkpoint_offsets:totable()) }
        local _, message, code = build(case[1])
        assert.are.same({ case[2], gdn.EINVAL }, { message, code })
        assert.are.same(was, { meta.step, unpack(meta.checkpoint_offsets:totable()) })
      end
    end)
  end

  it("are refused on rows with drafts, on padding, and over states that are read", function()
    open()
    local row = spec(10)
    row.checkpoint_len, row.checkpoint_slot = 52, { 50, 60 }
    local _, message = build { row }
    assert.are.equal("rows[0].checkpoint_len = 52, want 0 in a speculative row", message)
    _, message = build { decode(1), { query_len = 0, seq_len = 0, blocks = { {}, {} }, checkpoint_len = 3,
                                      checkpoint_slot = { 50, 60 } } }
    assert.are.equal("rows[1].checkpoint_len = 3, want 0 in a padding row", message)
    local reads = decode(1)
    reads.blocks, reads.read_column = { { 1, 70 }, { 1, 71 } }, 1
    _, message = build { reads, prompt(2, 200, 240, 104, { 50, 71 }) }
    assert.are.equal("rows[1] group 1 checkpoint_slot = 71, want one that rows[0] does not read", message)
    local own = prompt(2, 200, 240, 104, { 70, 60 })
    own.blocks, own.read_column = { { 2, 70 }, { 2, 71 } }, 1
    _, message = build { own }
    assert.are.equal("rows[0] group 0 checkpoint_slot = 70, want one that rows[0] does not read", message)
    open { check_unique = false }
    assert(build { own })
  end)

  it("are of the row that asks, and of strict alone", function()
    open()
    assert(build(rows()))
    batch:clear() -- rows of the next step are new ones
    for i = 1, 4 do assert(batch:push(i - 1, 100, 100, false)) end
    for g = 0, 1 do
      for i = 0, 3 do builder:set_blocks(g, i, { 30 + i }) end
    end
    assert.is_nil(assert(builder:build(batch)).checkpoint_offsets)
    open { rules = "vllm-2026-11" }
    local _, message = build(rows())
    assert.are.equal("rows[1].checkpoint_len = 104, want 0 but under strict", message)
  end)

  it("are shown with their rows", function()
    open()
    for _, row in ipairs(rows()) do assert(batch:add(row)) end
    local text = tostring(batch)
    assert.is_truthy(text:find("  keeps 104 in 50 60\n", 1, true), text)
    assert.is_truthy(text:find("  keeps 128 in 51 61", 1, true), text)
    assert.are.equal(2, select(2, text:gsub("keeps", "")))
  end)

  it("are asked for in words that are checked", function()
    open()
    local function says(message, len, slots)
      local ok, raised = pcall(batch.add, batch, prompt(2, 200, 240, len, slots))
      assert.is_false(ok)
      assert.are.equal("gdnmeta.Batch:add: " .. message, raised)
      assert.are.equal(0, batch.num_rows)
    end
    says("checkpoint_slot = nil, want a list with one per group", 104)
    says("checkpoint_slot = 5, want a list with one per group", 104, 5)
    says("checkpoint_slot has 1 elements, want 2, one per group", 104, { 5 })
    says("checkpoint_len = -1, want an integer in 0 .. 2147483647", -1, { 5, 6 })
    says("checkpoint_len = 1.5, want an integer in 0 .. 2147483647", 1.5, { 5, 6 })
    open { num_groups = 1, num_slots = 100 }
    assert(batch:add { query_len = 100, seq_len = 100, blocks = { 1 }, checkpoint_len = 64,
                       checkpoint_slot = 9 })
    assert.are.same({ 9 }, assert(builder:build(batch)).checkpoint_state_indices:totable())
  end)

  it("are seen where an element is wrong", function()
    for _, mixed in ipairs { false, "mixed" } do
      open { full_cuda_graph = mixed, num_speculative_tokens = 0 }
      local meta = assert(build(rows()))
      local CHANGES = { checkpoint_offsets = { [0] = { 0, 128, 1, -64 }, { 64 }, { 0, 64, 130 } },
                        checkpoint_state_indices = { [0] = { 0, 1, 51, 100 }, { 9 }, { 50, -1 } },
                        checkpoint_chunk = { [0] = { 0, -1, 2 }, { 0, 4 }, { 7, 9, -1 } } }
      local violation, seen = ffi.new "gdn_violation", 0
      for name, elements in pairs(CHANGES) do
        local p = ffi.cast("int32_t *", meta[name].data)
        for i, values in pairs(elements) do
          for _, value in ipairs(values) do
            local was = p[i]
            p[i] = value
            assert(lib.gdn_check(builder.handle, nil) == 0)
            assert.is_true(lib.gdn_check_result(builder.handle, 1, violation) ~= 0,
                           ("%s[%d] = %d"):format(name, i, value))
            p[i], seen = was, seen + 1
          end
        end
      end
      assert.is_true(seen > 20)
    end
  end)
end)
