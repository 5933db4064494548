-- Faults of other engines that read a state which is not the row's own, or not the one it stands at.
local serve = require "spec.support.run_engine"
local scripts = require "spec.support.scripted_engine"
local strict = require "spec.support.strict_rows"

local request = serve.request

after_each(strict.close)

local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 20, num_slots = 40 }

local function with(base, more)
  local out = {}
  for _, options in ipairs { base, more } do
    for name, value in pairs(options) do out[name] = value end
  end
  return out
end

local function last_read(meta, row)
  return (meta.spec_read_state_indices or meta.non_spec_read_state_indices)[row]
end

describe("States:", function()
  it("B8 (vllm #40738, #55504, #56531, #39273): a step without drafts reads where the last accepted " ..
     "token of the step before left its state", function()
    local meta = assert(strict.build(strict.builder_of(), { strict.decode(10, { accepted = 3 }) }))
    assert.are.same({ { 12 }, { 10 } }, { meta.non_spec_read_state_indices:totable(),
                                          meta.non_spec_state_indices_tensor:totable() })
    for _, options in ipairs { {}, with(ALIGN, { mamba_block_size = 8 }) } do
      local engine = serve.engine("fcfs", { max_model_len = 120 },
                                  with(options, { num_speculative_tokens = 3 }))
      local script = scripts.new(engine, { num_spec = 3 })
      engine:submit(request("a", { prompt_tokens = 5, max_tokens = 90 }))
      script:step()
      for accepted = 0, 3 do
        local wrote
        script:step({ a = { accepted = accepted, drafts = 0 } }, function(step)
          wrote = step.metadata.spec_state_indices_tensor[accepted]
        end)
        script:step({ a = { drafts = 3 } }, function(step)
          assert.are.equal(1, step.metadata.uniform_spec_sequence_length)
          assert.are.same({ wrote, accepted }, { step.metadata.spec_read_state_indices[0],
                                                 step.metadata.spec_conv_shift[0] })
        end)
      end
      -- the same beside a request that does draft
      engine:submit(request("b", { prompt_tokens = 5, max_tokens = 90 }))
      script:step { a = { accepted = 2, drafts = 3 } }
      local wrote
      script:step({ a = { accepted = 2, drafts = 0 } }, function(step)
        assert.are.equal("a", step:id(0))
        wrote = step.metadata.spec_state_indices_tensor[2]
      end)
      script:step(nil, function(step)
        assert.are.same({ 2, 0 }, { step.metadata.num_spec_decodes, step.drafts[0] })
        assert.are.equal(wrote, last_read(step.metadata, 0))
      end)
      engine:close()
    end
  end)

  it("B16 (vllm #53505): a state is written in no place from which it must still be read", function()
    local engine = serve.engine("fcfs", { max_model_len = 200 },
                                with(ALIGN, { mamba_block_size = 5, max_blocks_per_row = 50,
                                              num_speculative_tokens = 3 }))
    local script, moved = scripts.new(engine, { num_spec = 3 }), 0
    for id = 1, 3 do
      script.families[id] = id
      engine:submit(request(id, { prompt_tokens = 3 + id, max_tokens = 60 }))
    end
    while not engine:idle() do
      local results = {}
      for id = 1, 3 do
        results[id] = { accepted = (script.now * 5 + id) % 4, drafts = (script.now + id) % 4 }
      end
      script:step(results, function(step)
        for row = 0, step.num_rows - 1 do
          local read = step.read_column[row]
          if read >= 0 and step.column[row] > read then moved = moved + 1 end
        end
      end)
    end
    assert.is_true(moved > 10)
    engine:close()
  end)

  it("B17 (vllm #51113, #43559): block b of a prompt holds the state of exactly (b + 1) blocks " ..
     "of tokens", function()
    local engine = serve.engine("fcfs", { max_model_len = 300, max_num_batched_tokens = 39 }, ALIGN)
    local script, kept = scripts.new(engine, {}), {}
    engine:submit(request("a", { prompt_tokens = 90 }))
    for block = 1, 5 do
      local step = script:step()
      local checkpoint = engine:checkpoint "a"
      if block < 3 then assert.are.equal(32, step.query_len[0]) end
      if checkpoint then
        assert.are.equal(0, checkpoint.tokens % 16)
        kept[#kept + 1] = checkpoint
      end
    end
    assert.are.equal(3, #kept) -- 32, 64 and 80 tokens
    for n, checkpoint in ipairs(kept) do
      script.cached[n] = checkpoint.tokens
      engine:submit(request(n, { prompt_tokens = 90, checkpoint = checkpoint }))
      engine:release(checkpoint)
    end
    while not engine:idle() do script:step() end
    engine:close()
  end)

  it("B18 (vllm #56736; club-3090 #1052): drafts after a resumed prefix name slots of the pool " ..
     "alone", function()
    local engine = serve.engine("fcfs", { max_model_len = 150 },
                                with(ALIGN, { num_speculative_tokens = 2, num_groups = 2, num_slots = 30 }))
    local script = scripts.new(engine, { num_spec = 2, groups = 2 })
    local function in_range(step)
      for g = 0, 1 do
        local meta = step.metadata:group(g)
        for _, name in ipairs { "spec_state_indices_tensor", "non_spec_state_indices_tensor",
                                "spec_read_state_indices", "non_spec_read_state_indices" } do
          for i = 0, meta[name] and #meta[name] - 1 or -1 do
            assert.is_true(meta[name][i] >= 0 and meta[name][i] < 30, name)
          end
        end
      end
    end
    engine:submit(request(1, { prompt_tokens = 50, max_tokens = 40 }))
    script:step(nil, in_range)
    local checkpoint = assert(engine:checkpoint(1))
    for id = 2, 3 do
      script.cached[id] = checkpoint.tokens
      engine:submit(request(id, { prompt_tokens = 45 + id, max_tokens = 40, checkpoint = checkpoint }))
    end
    engine:release(checkpoint)
    while not engine:idle() do
      local results = {}
      for id = 1, 3 do results[id] = { accepted = (script.now + id) % 3 } end
      script:step(results, in_range)
    end
    assert.are.equal(0, engine:slots().used)
    engine:close()
  end)

  it("B28 (llama.cpp #29092; ik_llama, club-3090 #896): steps of one shape share no state", function()
    local builder, decode = strict.builder_of(), strict.decode
    local first = assert(strict.build(builder, { decode(10), decode(20) }))
    assert.are.same({ 10, 20 }, first.non_spec_state_indices_tensor:totable())
    local second = assert(strict.build(builder, { decode(30), decode(40, { accepted = 2 }) }))
    assert.are.same({ { 30, 40 }, { 30, 41 } }, { second.non_spec_state_indices_tensor:totable(),
                                                  second.non_spec_read_state_indices:totable() })

    local engine = serve.engine("fcfs", { max_num_seqs = 1 }, { num_slots = 2 })
    local script = scripts.new(engine, {})
    for id = 1, 3 do
      script.families[id] = id
      engine:submit(request(id))
      while not engine:idle() do
        script:step(nil, function(step)
          assert.are.equal(step.seq_len[0] > step.query_len[0] and 1 or 0, last_read(step.metadata, 0))
        end)
      end
    end
    engine:close()
  end)

  it("B29 (tpu-inference #3412, #3358): a prefix is resumed from a state that is still its own", function()
    local engine = serve.engine("fcfs", { max_model_len = 120 }, with(ALIGN, { num_slots = 4 }))
    local script = scripts.new(engine, {})
    engine:submit(request(1, { prompt_tokens = 40 }))
    script:step()
    local checkpoint = assert(engine:checkpoint(1))
    assert(engine:cancel(1))
    engine:release(checkpoint)
    engine:submit(request(2, { prompt_tokens = 20, max_tokens = 20 }))
    script.families[2] = 2
    script:step(nil, function(step) -- in the very slot that the checkpoint names
      assert.are.equal(checkpoint.slots[1], step.metadata.non_spec_state_indices_tensor[0])
    end)
    local ok, reason, code = engine:submit(request(3, { prompt_tokens = 40, checkpoint = checkpoint }))
    assert.are.same({ nil, ("request 3: checkpoint.slots[1] = %d, want a slot that is still held"):format(
      checkpoint.slots[1]), -1 }, { ok, reason, code })
    while not engine:idle() do script:step() end
    engine:close()
  end)
end)
