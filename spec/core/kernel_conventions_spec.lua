-- What kernels differ in is chosen when a builder is made: the slot of no row, and the width of boundaries.
-- A chosen emission is the oracle's with those elements replaced, and nothing else.
--   GDN_SEED=N   replays a run      GDN_CASES=N   steps, over devices, rules and choices
--   GDN_CUDA_SPECS=cuda   on a real device
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local drivers = require "spec.support.driver"
local feed = require "spec.support.submit_paths"
local oracle = require "spec.support.oracle"
local raises = require "spec.support.raises"
local random = require "spec.support.random_config"
local step = require "spec.support.random_step"
local until_met = require "spec.support.until_met"
local vectors = require "spec.support.vectors"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 4000
local PER_BUILDER = 25
local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"

-- Which boundaries say how many tokens the rows of a state field have.
local BOUNDARIES = {
  spec_state_indices_tensor = "spec_query_start_loc", spec_read_state_indices = "spec_query_start_loc",
  non_spec_state_indices_tensor = "non_spec_query_start_loc",
  non_spec_read_state_indices = "non_spec_query_start_loc",
  prefill_state_indices = "prefill_query_start_loc", prefill_read_state_indices = "prefill_query_start_loc",
}

local function as(tensor, dtype, data)
  return { dtype = dtype, shape = tensor.shape, data = data or tensor.data, fill = tensor.fill }
end

-- `all`: no slot is anyone's. Returns how many elements stand for no row.
local function pad(tensor, loc, all, id)
  local data, padded = {}, 0
  local function slot(value, empty)
    if not all and not (empty and value == 0) then return value end
    padded = padded + 1
    return id
  end
  for k, value in ipairs(tensor.data) do
    local empty = loc[k] == loc[k + 1]
    if type(value) == "number" then
      data[k] = slot(value, empty)
    else
      data[k] = {}
      for c, cell in ipairs(value) do data[k][c] = slot(cell, empty) end
    end
  end
  return as(tensor, tensor.dtype, data), padded
end

-- A row that keeps no state before its end has no slot for it.
local function unkept(states, offsets, id)
  local data = {}
  for k, value in ipairs(states.data) do data[k] = offsets.data[k] == 0 and id or value end
  return as(states, states.dtype, data)
end

local function chosen(record, groups, options, all)
  local padded = 0
  for _, fields in ipairs { record, unpack(groups) } do
    local kept = fields.checkpoint_state_indices
    if kept then
      fields.checkpoint_state_indices = unkept(kept, record.checkpoint_offsets, options.pad_slot_id)
    end
    for name, boundaries in pairs(BOUNDARIES) do
      if fields[name] then
        local n
        fields[name], n = pad(fields[name], record[boundaries].data, all, options.pad_slot_id)
        padded = padded + n
      end
    end
  end
  for _, name in ipairs { "spec_query_start_loc", "non_spec_query_start_loc", "prefill_query_start_loc" } do
    if record[name] then record[name] = as(record[name], options.query_start_loc_dtype) end
  end
  return padded
end

describe("Emitters", function()
  print(("\nemitters_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))
  local driver
  setup(function() driver = drivers.open(KIND) end)
  teardown(function() driver:close() end)

  local function check(device, rules, options, cases)
    local rand = random.rng(SEED)
    local config, builder, batch
    until_met(1, cases, { padded = cases / 6, built = cases / 4 }, function(case, met)
      if case % PER_BUILDER == 1 then
        if builder then batch:close() builder:close() end
        config = random.config(rand, rules)
        local given = vectors.without_nulls(config)
        given.rules, given.device = rules, device
        for name, value in pairs(options) do given[name] = value end
        builder = assert(gdn.builder(given))
        batch = assert(builder:batch())
      end
      local inputs, path, rows = step.draw(rand, rules, config)
      local record, groups = oracle.build(rules, config, inputs)
      if record then
        if random.chance(rand, 10) then lib.gdn_builder_poison(builder.handle) end
        met.padded = met.padded + chosen(record, groups, options, rules == "strict" and inputs.capture)
        local meta, reason = feed.paths[path](builder, batch, inputs, rows)
        reason = not meta and reason or compare.everything(record, groups, meta)
        if reason then error(("GDN_SEED=%d case %d: %s"):format(SEED, case, reason), 0) end
        met.built = met.built + 1
      end
    end, 4000)
    batch:close()
    builder:close()
  end

  for _, device in ipairs { "cpu", "cuda" } do
    for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
      for _, options in ipairs { { pad_slot_id = -1, query_start_loc_dtype = "int32" },
                                 { pad_slot_id = 0, query_start_loc_dtype = "int64" },
                                 { pad_slot_id = -1, query_start_loc_dtype = "int64" } } do
        it(("give %s boundaries and %d for no row, %s, on %s"):format(options.query_start_loc_dtype,
           options.pad_slot_id, rules, device), function()
          check(device, rules, options, math.ceil(CASES / 18))
        end)
      end
    end

    local function builder_of(options)
      options.device, options.max_num_seqs = device, 4
      options.max_num_batched_tokens = options.max_num_batched_tokens or 64
      return assert(gdn.builder(options))
    end

    it("tell padding from a row that starts from zeros, on " .. device, function()
      local builder = builder_of { num_speculative_tokens = 1, full_cuda_graph = true, pad_slot_id = -1 }
      local batch = assert(builder:batch())
      batch:add { query_len = 2, seq_len = 9, blocks = { 5, 6 }, drafts = 1, accepted = 2,
                  prompt_done = true }
      batch:pad(3, 6)
      local meta = assert(builder:build(batch))
      assert.are.same({ { 5, 6 }, { -1, -1 }, { -1, -1 } }, meta.spec_state_indices_tensor:totable())
      assert.are.same({ 6, -1, -1 }, meta.spec_read_state_indices:totable())
      assert.are.same({ 1, 0, 0 }, meta.spec_conv_shift:totable())
      batch:clear()
      batch:add { query_len = 1, seq_len = 9, blocks = { 5 }, prompt_done = true }
      batch:add { query_len = 3, seq_len = 3, blocks = { 7 } }
      meta = assert(builder:build(batch))
      assert.are.same({ 5, 7 }, meta.non_spec_state_indices_tensor:totable())
      assert.are.same({ 5, 0 }, meta.non_spec_read_state_indices:totable())
      assert.are.same({ 0 }, meta.prefill_read_state_indices:totable())
      meta = assert(builder:capture { query_start_loc = { 0, 1, 2 } })
      for _, name in ipairs { "non_spec_state_indices_tensor", "non_spec_read_state_indices" } do
        assert.are.same({ -1, -1 }, meta[name]:totable(), name)
      end
      batch:close()
      builder:close()
    end)

    it("move 64-bit boundaries of the prefills after the decodes, on " .. device, function()
      local builder = builder_of { query_start_loc_dtype = "int64", max_num_batched_tokens = 200 }
      local batch = assert(builder:batch())
      batch:add { query_len = 1, seq_len = 9, blocks = { 1 }, prompt_done = true }
      batch:add { query_len = 90, seq_len = 90, blocks = { 2 } }
      batch:add { query_len = 70, seq_len = 70, blocks = { 3 } }
      local meta = assert(builder:build(batch))
      for name, want in pairs { non_spec_query_start_loc = { 0, 1, 91, 161 },
                                prefill_query_start_loc = { 0, 90, 160 } } do
        assert.are.same({ "int64", want }, { meta[name].dtype, meta[name]:totable() }, name)
      end
      assert.is_true(ffi.istype("int64_t *", meta.prefill_query_start_loc.data))
      assert.are.equal(12, meta.nums_dict[8].nums[1])
      batch:close()
      builder:close()
    end)
  end

  -- Under the vLLM rules padding may be the host's own rows, and one without tokens may have a block.
  it("know a host's padding by its null block, wherever the table is", function()
    for _, where in ipairs { "host", "device" } do
      local options = { device = "cuda", rules = "vllm-2026-08", max_num_seqs = 4, pad_slot_id = -1 }
      local builder = assert(gdn.builder(options))
      local batch, cells = assert(builder:batch()), driver:int32(4)
      if where == "host" then
        for row, slot in ipairs { 3, 0, 5, 0 } do builder:set_blocks(0, row - 1, { slot }) end
      else
        driver:write(cells, { 3, 0, 5, 0 })
        assert(builder:borrow_device_table(0, cells, 1, 4))
      end
      for row, query_len in ipairs { 1, 1, 0, 0 } do batch:push(row - 1, query_len, 5, true) end
      local meta = assert(builder:build(batch))
      assert.are.same({ 3, 0, 5, -1 }, meta.non_spec_state_indices_tensor:totable(), where)
      batch:clear() -- and one without tokens before a row that has some, and the null block
      for row, query_len in ipairs { 0, 1, 0, 0 } do batch:push(3 - row % 4, query_len, 5, true) end
      meta = assert(builder:build(batch))
      assert.are.same({ 5, 0, 3, -1 }, meta.non_spec_state_indices_tensor:totable(), where)
      batch:close()
      builder:close()
      driver:free(cells)
    end
  end)

  it("put the slot of no row in place of a bad one in a device table", function()
    local options = { device = "cuda", max_num_seqs = 4, num_slots = 10, pad_slot_id = -1 }
    local builder = assert(gdn.builder(options))
    local cells, batch = driver:int32(4), assert(builder:batch())
    driver:write(cells, { 3, 99, 0, 4 })
    assert(builder:borrow_device_table(0, cells, 1, 4))
    for row = 0, 3 do batch:push(row, 1, 5, true) end
    local meta = assert(builder:build(batch))
    assert.are.same({ 3, -1, -1, 4 }, meta.non_spec_state_indices_tensor:totable())
    assert.are.same({ 3, -1, -1, 4 }, meta.non_spec_read_state_indices:totable())
    assert.matches("names a block in a device table", (select(2, builder:take_device_error())), 1, true)
    batch:close()
    builder:close()
    driver:free(cells)
  end)

  it("are refused where no kernel wants them", function()
    raises("gdnmeta.builder: pad_slot_id = -2, want an integer in -1 .. 0",
           function() gdn.builder { pad_slot_id = -2 } end)
    raises('gdnmeta.builder: query_start_loc_dtype = "int16", want "int32" or "int64"',
           function() gdn.builder { query_start_loc_dtype = "int16" } end)
    local config, out, why = ffi.new "gdn_config", ffi.new "gdn_builder *[1]", ffi.new "char[320]"
    for name, want in pairs { pad_slot_id = "-1 .. 0", query_start_loc_dtype = "0 .. 1" } do
      lib.gdn_config_init(config)
      config[name] = 2
      assert.are.equal(-1, tonumber(lib.gdn_builder_new(config, out, why, 320)))
      assert.are.equal(name .. " = 2, want " .. want, ffi.string(why))
    end
  end)

  it("are told by a recording, and shared by the two builders of an engine", function()
    local function open(pad_slot_id, query_start_loc_dtype)
      return assert(gdn.builder { device = "cpu", max_num_seqs = 4, pad_slot_id = pad_slot_id,
                                  query_start_loc_dtype = query_start_loc_dtype, max_requests = 8 })
    end
    local builder = open(-1, "int64")
    local told = require("gdnmeta.record.header").builder(builder)
    assert.are.same({ -1, "int64" }, { told.pad_slot_id, told.query_start_loc_dtype })
    for name, other in pairs { pad_slot_id = open(0, "int64"), query_start_loc_dtype = open(-1, "int32") } do
      local ok, message = pcall(gdn.engine, { builder = builder, second_builder = other, async = true,
                                              policy = "fcfs", max_model_len = 64 })
      assert.is_false(ok)
      assert.matches(name, message, 1, true)
      other:close()
    end
    builder:close()
  end)

  it("cost nothing where they are the defaults", function()
    local plain = assert(gdn.builder { device = "cpu" })
    local wide = assert(gdn.builder { device = "cpu", query_start_loc_dtype = "int64" })
    assert.is_true(plain.bytes + 3 * 256 * 4 <= wide.bytes)
    plain:close()
    wide:close()
  end)
end)
