-- After any build the buffers that captured graphs read have slots of this step, and behind them the null
-- slot: whatever was built before, whichever tensors this step has, also where it has no rows.
--   GDN_SEED=N   replays a run      GDN_CASES=N   steps per rule set and device
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local each_step = require "spec.support.each_step"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 400

local INDICES = { "spec_state_indices_tensor", "non_spec_state_indices_tensor", "spec_read_state_indices",
                  "non_spec_read_state_indices", "prefill_state_indices", "prefill_read_state_indices",
                  "decode_state_indices", "decode_read_state_indices", "checkpoint_state_indices" }

-- All elements of a buffer of slots, as src/base/fields.h has it: a bucket has a row that is always empty.
local function capacity(name, builder, config)
  local cap = math.min(builder.decode_cudagraph_max_bs, config.max_num_batched_tokens)
  local rows = config.full_cuda_graph == "mixed" and config.max_rows + 1 or math.max(config.max_rows, cap)
  return name == "spec_state_indices_tensor" and rows * (config.num_speculative_tokens + 1) or rows
end

local function read(builder, address, n)
  local memory = int32s(n)
  assert(lib.gdn_builder_read(builder.handle, memory, ffi.cast("void *", address), 4 * n) == 0)
  return memory
end

-- Everything behind what the step handed out must be null. known: addresses seen so far, by group and name.
local function scan(builder, config, known, counts)
  local view = ffi.new "gdn_metadata"
  for group = 0, builder.num_groups - 1 do
    assert(lib.gdn_metadata_group(builder.handle, group, view) == 0)
    for _, name in ipairs(INDICES) do
      local tensor, key = view[name], name .. group
      if tensor.data ~= nil then known[key] = tensor.data end
      if known[key] then
        local n = tensor.data ~= nil and tensor.shape[0] * tensor.shape[1] or 0
        -- vLLM cuts arrays that a batch does not fit in; its rows are this step's all the same.
        if tensor.data ~= nil and name == INDICES[1] then
          n = math.max(n, view.num_spec_decodes * tensor.shape[1])
        elseif tensor.data ~= nil and name == INDICES[2] then
          n = math.max(n, view.num_decodes)
        end
        local all = capacity(name, builder, config)
        local memory = read(builder, known[key], all)
        for i = n, all - 1 do
          if memory[i] ~= 0 and memory[i] ~= config.pad_slot_id then
            error(("%s[%d] of group %d is %d, the step has %d elements of it"):format(name, i, group,
              memory[i], n), 0)
          end
        end
        if n == 0 then counts[name] = (counts[name] or 0) + 1 end
      end
    end
  end
end

describe("Slots of earlier steps", function()
  print(("\nstale_slots_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))

  local function check(device, rules, graphs)
    -- Steps without the tensors; those of a bucket have all of them.
    local known, wanted = {}, graphs ~= "mixed" and { [INDICES[1]] = 4, [INDICES[2]] = 4 } or nil
    each_step.run(SEED, CASES, device, rules, graphs, function() known = {} end,
      function(builder, config, met) scan(builder, config, known, met) end, wanted)
  end

  for _, device in ipairs(each_step.DEVICES) do
    for _, rules in ipairs(each_step.RULES) do
      it(("are nowhere on %s under %s"):format(device, rules), function() check(device, rules, true) end)
    end
    it("are nowhere in buckets on " .. device, function() check(device, "strict", "mixed") end)
  end

  -- Every row but the last, which a bucket needs empty, of each class in turn; then a bucket of one row.
  for _, device in ipairs(each_step.DEVICES) do
    it("are gone after a smaller bucket on " .. device, function()
      local driver = device == "cuda" and drivers.open "fake"
      local ROWS = 7
      local config = { device = device, max_num_seqs = ROWS, max_rows = ROWS, max_num_batched_tokens = 2048,
                       num_speculative_tokens = 1, num_groups = 2, full_cuda_graph = "mixed", num_slots = 200,
                       pad_slot_id = -1 }
      local builder = assert(gdn.builder(config))
      local batch, met = assert(builder:batch()), {}
      for _, row in ipairs { { 2, 40, 1 }, { 1, 40 }, { 100, 140 }, { 100, 140, keeps = 104 } } do
        local known, view = {}, ffi.new "gdn_metadata"
        for _, rows in ipairs { ROWS, 1 } do
          batch:clear()
          for i = 0, rows - 1 do
            local at = 10 + 20 * i
            assert(batch:add { query_len = row[1], seq_len = row[2], drafts = row[3],
                               prompt_done = row[1] < 3, checkpoint_len = row.keeps,
                               blocks = { { at, at + 1 }, { at + 2, at + 3 } },
                               checkpoint_slot = row.keeps and { at + 4, at + 5 } })
          end
          assert(builder:build(batch))
          assert(lib.gdn_metadata_group(builder.handle, 1, view) == 0)
          for _, name in ipairs(INDICES) do
            if read(builder, view[name].data, 1)[0] > 0 then met[name] = true end
          end
          scan(builder, config, known, {})
        end
      end
      for _, name in ipairs(INDICES) do assert.is_true(met[name], name) end
      batch:close()
      builder:close()
      if driver then driver:close() end
    end)
  end

  for _, device in ipairs(each_step.DEVICES) do
    it("are gone after a step without rows on " .. device, function()
      local driver = device == "cuda" and drivers.open "fake"
      local builder = assert(gdn.builder { device = device, max_num_seqs = 2, num_speculative_tokens = 3,
                                           full_cuda_graph = true, pad_slot_id = -1 })
      local batch = assert(builder:batch())
      for row = 0, 1 do
        batch:add { query_len = 4, seq_len = 40, drafts = 3, prompt_done = true,
                    blocks = { 1 + 4 * row, 2 + 4 * row, 3 + 4 * row, 4 + 4 * row } }
      end
      batch:pad(2, 8)
      local states = assert(builder:build(batch)).spec_state_indices_tensor.data
      assert.are.same({ 1, 5 }, { read(builder, states, 8)[0], read(builder, states, 8)[4] })
      batch:clear()
      batch:pad(2, 8)
      assert(builder:build(batch))
      for i = 0, 7 do assert.are.equal(-1, read(builder, states, 8)[i]) end
      batch:close()
      builder:close()
      if driver then driver:close() end
    end)
  end
end)
