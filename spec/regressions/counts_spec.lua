-- Faults of other engines in accepted counts, in copies on their way, and in what a step counts up.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local strict = require "spec.support.strict_rows"

local decode, spec, fresh = strict.decode, strict.spec, strict.fresh

describe("Counts:", function()
  local driver, builders
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)
  before_each(function() builders = {} end)
  after_each(function()
    strict.close()
    for _, builder in ipairs(builders) do builder:close() end
    driver:free_all()
  end)

  local function cuda(options)
    local all = { device = "cuda", max_num_seqs = 4, num_speculative_tokens = 2, max_num_batched_tokens = 64 }
    for name, value in pairs(options or {}) do all[name] = value end
    builders[#builders + 1] = assert(gdn.builder(all))
    return builders[#builders]
  end

  local function array(values)
    local memory = driver:int32(#values)
    driver:write(memory, values)
    return memory, #values
  end

  -- A builder whose rows 0 .. 2 of the table hold slots 10, 20, 30 and later rows more.
  local function with_tables()
    local builder = cuda()
    for row = 0, 2 do builder:set_blocks(0, row, { 10 * row + 10, 10 * row + 11, 10 * row + 12 }) end
    return builder, assert(builder:batch())
  end

  it("B5 (vllm #45100): an accepted count belongs to the request, wherever its row stands now", function()
    local accepted = array { 1, 1, 1, 1 }
    local engine = assert(gdn.engine { builder = cuda { num_speculative_tokens = 3, max_requests = 4 },
                                       async = true, max_model_len = 200, accepted = accepted })
    for _, id in ipairs { "a", "b", "c" } do
      engine:submit { id = id, prompt_tokens = 5, max_tokens = 50 }
    end
    engine:complete(engine:step(0), 0)
    local first, said = engine:step(1), { a = 0, b = 3, c = 1 }
    assert.are.same({ "a", "b", "c" }, { first:id(0), first:id(1), first:id(2) })
    local counts, states = {}, {}
    for row = 0, 2 do
      local id = first:id(row)
      counts[first.table_row[row] + 1] = 1 + said[id]
      states[id] = first.metadata.spec_state_indices_tensor[row * 4 + said[id]]
    end
    driver:write(accepted, counts)
    assert(engine:set_policy(function(view, plan)
      local order = {}
      for i in view:running() do table.insert(order, 1, i) end
      for _, i in ipairs(order) do plan:take(i) end
    end))
    local second = engine:step(2)
    assert.are.same({ "c", "b", "a" }, { second:id(0), second:id(1), second:id(2) })
    local meta = second.metadata
    for row = 0, 2 do
      local id = second:id(row)
      assert.are.same({ 1 + said[id], said[id], states[id] },
                      { meta.num_accepted_tokens[row], meta.spec_conv_shift[row],
                        meta.spec_read_state_indices[row] })
    end
    engine:close()
  end)

  it("B6 (vllm #53919; ascend #13863, #13864): counts in last step's order are put in this step's once",
     function()
    local builder, batch = with_tables()
    local memory = array { 3, 1, 2 }
    assert(builder:borrow_device_accepted(memory, 3))
    for row, was in ipairs { 2, 0, 1 } do -- applied twice this would be 1, 2, 3
      batch:push(row - 1, 3, 9, true, 2, 1)
      batch:index(row - 1, -1, was)
    end
    for _ = 1, 2 do
      local meta = assert(builder:build(batch))
      assert.are.same({ 2, 3, 1 }, meta.num_accepted_tokens:totable())
      assert.are.same({ 11, 22, 30 }, meta.spec_read_state_indices:totable())
    end
    assert.are.same({ 3, 1, 2 }, driver:read(memory, 3))
    batch:close()
    local rows = { num_scheduled = { 9, 1, 5, 1 }, num_computed = { 0, 8, 8, 8 },
                   num_prompt = { 9, 8, 20, 8 }, decode_threshold = 1 }
    local once = gdn.reorder(rows)
    assert.are.same({ 3, 1, 2, 0 }, once.order)
    for name, list in pairs(rows) do
      local moved = {}
      for i, was in ipairs(once.order) do moved[i] = type(list) == "table" and list[was + 1] end
      rows[name] = type(list) == "table" and moved or list
    end
    assert.are.same({ modified = false, order = { 0, 1, 2, 3 }, swaps = {} }, gdn.reorder(rows))
  end)

  it("B7 (vllm #50021): a count reaches past no state column, on the host or on the device", function()
    local host = strict.builder_of { full_cuda_graph = true }
    for _, count in ipairs { 0, 4, -1, 2147483647 } do
      assert.are.same({ nil, ("rows[0].num_accepted_tokens = %d, want 1 .. 3"):format(count), -1 },
                      { strict.build(host, { spec(10, { accepted = count }) }) })
    end
    local meta = assert(strict.build(host, { spec(10, { accepted = 3 }) }, 4, 12))
    assert.are.same({ 3, 1, 1, 1 }, meta.num_accepted_tokens:totable())
    local builder, batch = with_tables()
    for row = 0, 2 do batch:push(row, 3, 9, true, 2, 1) end
    assert(builder:borrow_device_accepted(array { 4, 0, 3 }))
    meta = assert(builder:build(batch))
    assert.are.same({ 1, 1, 3 }, meta.num_accepted_tokens:totable())
    assert.are.same({ 0, 0, 32 }, meta.spec_read_state_indices:totable())
    assert.matches("num_accepted_tokens on the device outside 1 .. num_speculative_tokens + 1",
                   (select(2, builder:peek_device_error())), 1, true)
    batch:close()
  end)

  -- Ranks are the host's; what a builder owes them is that the same inputs give the same bytes.
  it("B24 (vllm #46994, #44697): builders of equal inputs hand out equal bytes, whatever they built " ..
     "before", function()
    local SIZES = { int32 = 4, int64 = 8, bool = 1 }
    local function bytes(meta)
      local out = {}
      for _, name in ipairs { "non_spec_query_start_loc", "non_spec_state_indices_tensor", "chunk_indices",
          "spec_query_start_loc", "spec_state_indices_tensor", "num_accepted_tokens", "has_initial_state",
          "spec_read_state_indices", "non_spec_read_state_indices", "batch_ptr", "spec_sequence_masks",
          "spec_token_indx", "non_spec_token_indx", "chunk_offsets" } do
        local view = meta[name]
        out[#out + 1] = name .. (view and ffi.string(view.data, #view * SIZES[view.dtype]) or " absent")
      end
      return table.concat(out)
    end
    local steps = { { decode(10), decode(20, { accepted = 2 }) }, { spec(10, { accepted = 3 }), spec(20) },
                    { decode(10), spec(20), fresh(30) }, { spec(10), decode(20, { drafts = 0 }) },
                    { fresh(30), fresh(10) }, {} }
    local used = strict.builder_of { full_cuda_graph = true }
    for _, before in ipairs(steps) do
      for _, step in ipairs(steps) do
        assert(strict.build(used, before, 8, 24))
        local new = strict.builder_of { full_cuda_graph = true }
        assert.are.equal(bytes(assert(strict.build(new, step, 5, 24))),
                         bytes(assert(strict.build(used, step, 5, 24))))
      end
    end
    local one, other = strict.builder_of(), strict.builder_of()
    assert.are_not.equal(bytes(assert(strict.build(one, { spec(10, { accepted = 1 }) }))),
                         bytes(assert(strict.build(other, { spec(10, { accepted = 2 }) }))))
  end)

  -- gdnmeta has no replay cursors; its own are the number of the step and the next buffer of the ring.
  it("B32 (sglang, gdn ring): a build counts one step, a refused one none", function()
    local builder, batch = with_tables()
    for n = 1, 3 do
      batch:clear()
      batch:push(0, 3, 9, true, 2, 1)
      assert.are.equal(n, assert(builder:build(batch)).step)
      batch:push(1, 1, 0, true)
      assert.is_nil((builder:build(batch)))
      local c = builder:counters()
      assert.are.same({ n, 1, n - 1 }, { builder.metadata.step, c.launches, c.skipped })
    end
    batch:close()
    local rows = 1024
    local large = cuda { max_num_seqs = rows, num_groups = 9, num_slots = 2 ^ 22,
                         max_num_batched_tokens = 3 * rows }
    batch = assert(large:batch())
    for g = 0, 8 do
      for i = 0, rows * 3 - 1 do large:table(g)[i] = 1 + i * 1000 end
    end
    for row = 0, rows - 1 do batch:push(row, 3, 9, true, 2, 1) end
    driver.lib.fake_hold(1)
    for n = 1, 6 do
      batch.rows.num_accepted_tokens[0] = 1 + n % 2
      assert(large:build(batch))
      local c = large:counters()
      assert.are.same({ n, n, math.max(n - 4, 0) }, { c.launches, c.ring_launches, c.ring_waits })
    end
    driver.lib.fake_hold(0)
    batch:close()
  end)
end)
