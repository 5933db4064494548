-- The ends of every range: legal there, refused after them, and their memory known before.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local sizes = require "spec.support.builder_sizes"

ffi.cdef "int64_t gdn_counted_bytes(void);"

local ECAP, ENOMEM, INT32_MAX = gdn.ECAP, gdn.ENOMEM, 2 ^ 31 - 1

local function build(builder, batch) return assert(builder:build(batch)) end

describe("A builder's memory", function()
  local counted = ffi.load(require("spec.support.counted_library").path)

  local function options(given, device)
    local o = { device = device }
    for name, value in pairs(given) do o[name] = value end
    return o
  end

  -- Bytes that the same configuration allocates when a core that counts makes it, with the fake driver's.
  local function really(builder, driver)
    local config, out = ffi.new "gdn_config", ffi.new "gdn_builder *[1]"
    require("gdnmeta.native").gdn_builder_config(builder.handle, config)
    counted.gdn_counted_bytes()
    local before = driver and driver:count "bytes" or 0
    assert(counted.gdn_builder_new(config, out, nil, 0) == 0)
    local bytes = tonumber(counted.gdn_counted_bytes()) + (driver and driver:count "bytes" - before or 0)
    counted.gdn_builder_free(out[0])
    return bytes
  end

  -- #lua: make asan sets GDN_DEBUG for one of the two libraries only.
  it("is told before it is made, to the byte #lua", function()
    local driver = drivers.open "fake"
    for i, given in ipairs(sizes) do
      for _, device in ipairs { "cpu", "cuda" } do
        local at = ("configuration %d on %s"):format(i, device)
        local told = assert(gdn.builder_bytes(options(given, device)))
        local builder = assert(gdn.builder(options(given, device)))
        assert.are.equal(told, builder.bytes, at)
        assert.are.equal(told, really(builder, device == "cuda" and driver or nil), at)
        builder:close()
      end
      assert.are.equal(gdn.builder_bytes(options(given, "cuda")), gdn.builder_bytes(options(given, "auto")))
      assert.is_true(gdn.builder_bytes(options(given, "cuda")) > gdn.builder_bytes(options(given, "cpu")))
    end
    driver:close()
  end)

  it("is told where no machine has it, and a builder is then refused", function()
    local vast = { device = "cpu", max_requests = INT32_MAX, max_blocks_per_row = INT32_MAX, num_groups = 64 }
    assert.are.equal(2 ^ 63, gdn.builder_bytes(vast))
    local builder, message, code = gdn.builder(vast)
    assert.are.same({ nil, ENOMEM }, { builder, code })
    assert.is_truthy(message:find("no memory", 1, true), message)
  end)

  it("is refused for what a builder is refused for, in the same words", function()
    local wrong = { device = "cpu", num_speculative_tokens = 3, max_blocks_per_row = 2 }
    assert.are.same({ gdn.builder(wrong) }, { gdn.builder_bytes(wrong) })
    assert.is_nil((gdn.builder_bytes(wrong)))
    assert.has_error(function() gdn.builder_bytes { max_row = 1 } end,
                     "gdnmeta.builder_bytes: unknown option max_row")
  end)
end)

describe("Rows", function()
  -- One decode of one slot a row: its start and its slot are its number.
  local function decodes(n)
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = n, max_num_batched_tokens = n })
    local batch, slots = builder:batch(), builder:table(0)
    for row = 0, n - 1 do
      slots[row] = row + 1
      batch:push(row, 1, 9, true)
    end
    local meta = build(builder, batch)
    assert.are.same({ n, n, n }, { meta.num_decodes, meta.num_actual_tokens, meta.num_rows })
    assert.are.same({ n + 1, n }, { #meta.non_spec_query_start_loc, #meta.non_spec_state_indices_tensor })
    for row = 0, n - 1 do
      if meta.non_spec_query_start_loc[row] ~= row or meta.non_spec_state_indices_tensor[row] ~= row + 1 then
        error(("row %d starts at %d with slot %d"):format(row, meta.non_spec_query_start_loc[row],
          meta.non_spec_state_indices_tensor[row]))
      end
    end
    assert.are.equal(n, meta.non_spec_query_start_loc[n])
    batch.rows.num_rows = n + 1
    local refused, message, code = builder:build(batch)
    assert.are.same({ nil, ("num_rows = %d, want 0 .. %d"):format(n + 1, n), ECAP },
                    { refused, message, code })
    builder:close()
  end

  it("are 1 or 65,536, and no more", function()
    decodes(1)
    decodes(65536)
    assert.has_error(function() gdn.builder { device = "cpu", max_rows = 65537 } end,
                     "gdnmeta.builder: max_rows = 65537, want an integer in 1 .. 65536")
    local builder, message, code = gdn.builder { device = "cpu", max_num_seqs = 65536,
                                                 num_speculative_tokens = 1 }
    assert.are.same({ nil, gdn.EINVAL }, { builder, code })
    assert.is_truthy(message:find("max_rows = 131072", 1, true), message)
  end)
end)

describe("Tokens", function()
  local function prefill(limit, ...)
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = limit })
    local batch, slots = builder:batch(), builder:table(0)
    for row, n in ipairs { ... } do
      slots[row - 1] = row
      batch:push(row - 1, n, n, false)
    end
    local meta, message, code = builder:build(batch)
    return builder, meta, message, code
  end

  it("are 1, or 2^24 in one row: chunks and tiles to the last", function()
    for _, n in ipairs { 1, 2, 63, 64, 65, 2 ^ 24 } do
      local builder, meta = prefill(n, n)
      local chunks, tiles = math.ceil(n / 64), math.ceil(n / 8)
      assert.are.same({ 1, n }, { meta.num_prefills, meta.num_prefill_tokens })
      assert.are.equal(n, meta.non_spec_query_start_loc[1])
      assert.are.same({ chunks, 2 }, meta.chunk_indices.shape)
      assert.are.equal(chunks - 1, meta.chunk_indices[2 * chunks - 1])
      assert.are.equal(2 * math.max(tiles, 1024), #meta.batch_ptr)
      assert.are.same({ 0, tiles - 1, -1 },
                      { meta.batch_ptr[tiles - 1], meta.token_chunk_offset_ptr[tiles - 1],
                        meta.batch_ptr[tiles] })
      builder:close()
    end
  end)

  it("of all rows are summed in 64 bits: four rows of 2^31 - 1 are refused, not wrapped", function()
    local builder, meta, message, code = prefill(8192, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX)
    assert.are.same({ nil, ECAP }, { meta, code })
    assert.are.equal("the rows have 8589934588 tokens, want 0 .. 8192 (max_num_batched_tokens)", message)
    builder:close()
  end)

  it("are up to 2^31 - 1 where a machine has the memory, and are refused where it has not", function()
    local options = { device = "cpu", max_num_seqs = 1, max_num_batched_tokens = INT32_MAX }
    assert.is_true(gdn.builder_bytes(options) > 2 ^ 35)
    local builder, _, code = gdn.builder(options)
    if builder then builder:close() else assert.are.equal(ENOMEM, code) end
    assert.has_error(function() gdn.builder { device = "cpu", max_num_batched_tokens = 2 ^ 31 } end)
  end)

  it("are so with 65,536 rows of them, too", function()
    local builder, message, code = gdn.builder { device = "cpu", max_num_seqs = 65536, max_rows = 65536,
                                                 max_num_batched_tokens = INT32_MAX }
    if builder then builder:close() else assert.are.equal(ENOMEM, code, message) end
  end)
end)

describe("A state table of a million columns", function()
  local COLUMNS = 2 ^ 20

  it("is read at its last column in mode none", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_blocks_per_row = COLUMNS,
                                         num_slots = 100 })
    local batch, cells = builder:batch(), builder:table(0)
    cells[COLUMNS], cells[2 * COLUMNS - 1] = 7, 8
    batch:push(1, 1, 9, true, -1, 1, COLUMNS - 1)
    local meta = build(builder, batch)
    assert.are.same({ 7, 8 }, { meta.non_spec_state_indices_tensor[0], meta.non_spec_read_state_indices[0] })
    batch:clear()
    batch:push(1, 1, 9, true, -1, 1, COLUMNS)
    local refused, message = builder:build(batch)
    assert.is_nil(refused)
    assert.is_truthy(message:find("read_column", 1, true), message)
    builder:close()
  end)

  it("holds the window of a sequence of a million blocks in mode align, and no longer one", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_blocks_per_row = COLUMNS,
                                         mamba_cache_mode = "align", mamba_block_size = 1, num_slots = 100 })
    local batch, cells = builder:batch(), builder:table(0)
    cells[2 * COLUMNS - 2], cells[2 * COLUMNS - 1] = 5, 6
    batch:push(1, 1, COLUMNS, true)
    local meta = build(builder, batch)
    assert.are.same({ 6, 5 }, { meta.non_spec_state_indices_tensor[0], meta.non_spec_read_state_indices[0] })
    batch:clear()
    batch:push(1, 1, COLUMNS + 1, true)
    local refused, message = builder:build(batch)
    assert.is_nil(refused)
    assert.is_truthy(message:find("reaches column 1048576", 1, true), message)
    builder:close()
  end)
end)

describe("Speculation", function()
  it("is of 0 to 64 tokens, each state of which has its column", function()
    for S = 0, 64 do
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_speculative_tokens = S,
                                           full_cuda_graph = true, num_slots = 200 })
      local batch, cells = builder:batch(), builder:table(0)
      for i = 0, 2 * (S + 1) - 1 do cells[i] = i + 1 end
      for row = 0, 1 do batch:push(row, S + 1, 100 + S, true, S, S + 1) end
      local meta = build(builder, batch)
      if S == 0 then
        assert.are.same({ 2, 1 }, { meta.num_decodes, meta.non_spec_state_indices_tensor[0] })
      else
        assert.are.same({ 2, 2 * (S + 1) }, { meta.num_spec_decodes, meta.num_spec_decode_tokens })
        assert.are.same({ 2, S + 1 }, { meta.spec_state_indices_tensor.shape[1],
                                        meta.spec_state_indices_tensor.shape[2] })
        for i = 0, 2 * (S + 1) - 1 do assert.are.equal(i + 1, meta.spec_state_indices_tensor[i]) end
        assert.are.same({ S + 1, S + 1 }, { meta.num_accepted_tokens[0], meta.spec_read_state_indices[0] })
        assert.are.equal(S, meta.spec_conv_shift[1])
      end
      builder:close()
    end
    assert.has_error(function() gdn.builder { device = "cpu", num_speculative_tokens = 65 } end,
                     "gdnmeta.builder: num_speculative_tokens = 65, want an integer in 0 .. 64")
  end)
end)

describe("Cache groups", function()
  it("are 1 to 64, each with slots of its own", function()
    for n = 1, 64 do
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_groups = n,
                                           num_slots = 300 })
      local batch = builder:batch()
      for group = 0, n - 1 do builder:table(group)[1] = 100 + group end
      batch:push(1, 1, 9, true)
      local meta = build(builder, batch)
      for group = 0, n - 1 do
        assert.are.equal(100 + group, meta:group(group).non_spec_state_indices_tensor[0])
      end
      assert.has_error(function() return meta:group(n) end)
      builder:close()
    end
    assert.has_error(function() gdn.builder { device = "cpu", num_groups = 65 } end,
                     "gdnmeta.builder: num_groups = 65, want an integer in 1 .. 64")
  end)
end)
