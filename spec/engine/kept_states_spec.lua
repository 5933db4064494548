-- submit { keep = }: a prompt leaves its state before the end of a chunk in a place of the host's. By hand:
-- what rows say, who holds what, and what is refused.
local ffi = require "ffi"
local recordings = require "spec.support.recordings"
local rebuilds = require "gdnmeta.record.rebuild"
local serve = require "spec.support.run_engine"

local EINVAL = -1
local request = serve.request

local function engine(options, builder)
  local b = { max_blocks_per_row = 2, num_slots = 9, max_num_batched_tokens = 256, num_groups = 2 }
  for name, value in pairs(builder or {}) do b[name] = value end
  return serve.engine("fcfs", options, b)
end

local function list(tensor)
  local out = {}
  for i = 0, #tensor - 1 do out[i + 1] = tensor[i] end
  return out
end

describe("A request with a place for a state", function()
  it("leaves it there in the chunk that passes it, and another begins with it", function()
    local e = engine { kv_blocks = 40, kv_block_size = 16 }
    local place = assert(e:receive(128))
    local reserved = { unpack(place.kv_blocks) }
    assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
    local step = assert(e:step(1))
    assert.are.same({ { 128 }, { 2 } }, { list(step.metadata.checkpoint_offsets),
                                          list(step.metadata.checkpoint_chunk) })
    for group = 0, 1 do
      assert.are.same({ place.slots[group + 1] }, list(step.metadata:group(group).checkpoint_state_indices))
    end
    assert.are.same({ place }, step.kept)
    assert.are.same({ nil, "request b: slot: want a state that a completed step has left (step.kept)",
                      EINVAL }, { e:submit(request("b", { prompt_tokens = 200, slot = place })) })
    local blocks = {}
    for n = 0, 7 do blocks[n + 1] = step.kv_table[step.table_row[0] * e.max_kv_blocks + n] end
    e:complete(step, 1)
    assert.are.same(blocks, place.kv_blocks) -- those where the prompt's attention cache is
    assert.are_not.same(reserved, blocks)
    assert(e:verify()) -- these are kept now
    assert(e:submit(request("b", { prompt_tokens = 200, slot = place, computed = 128 })))
    e:release(place)
    step = assert(e:step(2))
    assert.are.same({ 0, "b", 72, 200 }, { #step.kept, step:id(1), step.query_len[1], step.seq_len[1] })
    assert.are.equal(place.slots[1], step.metadata.non_spec_read_state_indices[1])
    assert.is_nil(step.metadata.checkpoint_offsets) -- the rows of the step before are forgotten
    assert.are.equal(blocks[8], step.kv_table[step.table_row[1] * e.max_kv_blocks + 7])
    e:complete(step, 2)
    serve.run(e)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    assert(e:verify())
    e:close()
  end)

  it("does so where a chunk passes it by whole chunks of 64, or anywhere with checkpoint_any", function()
    for _, case in ipairs {
      -- tokens of the place, per step, checkpoint_any; the step that leaves it and its offset, nil: none
      { 64, 256, false, 1, 64 }, { 65, 256, false }, { 65, 256, true, 1, 65 }, { 128, 64, false },
      { 128, 96, false }, { 128, 96, true, 2, 32 }, { 192, 128, false, 2, 64 }, { 1, 256, true, 1, 1 },
      { 199, 256, true, 1, 199 }, { 96, 96, true },
    } do
      local e = engine({ max_num_batched_tokens = case[2] }, { checkpoint_any = case[3] })
      local place, found, what = assert(e:receive(case[1])), nil, table.concat({ case[1], case[2] }, " of ")
      assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
      for now = 1, 4 do
        local step = assert(e:step(now))
        if #step.kept > 0 then found = { now, step.metadata.checkpoint_offsets[0] } end
        e:complete(step, now)
      end
      assert.are.same(case[4] and { case[4], case[5] }, found, what)
      assert.are.equal(0, e.private.num_keeps, what) -- nobody looks for it any more
      e:release(place)
      serve.run(e)
      assert.are.equal(0, e:slots().used, what)
      e:close()
    end
  end)

  it("lets go of the place at which a chunk ends, as the step is written", function()
    for tokens, is_free in pairs { [95] = true, [96] = true, [97] = false } do
      local e = engine { max_num_batched_tokens = 96 }
      local place = assert(e:receive(tokens))
      assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
      assert.are.same({}, assert(e:step(1)).kept)
      assert.are.equal(is_free, e:submit(request("b", { prompt_tokens = 200, keep = place })) == true)
      e:close()
    end
  end)

  it("lets go of the place where it begins with a state of as many tokens", function()
    local e = engine({ hash_block_size = 16 }, { num_slots = 12 })
    local blocks = { 1, 2, 3, 4 }
    assert(e:submit(request("a", { prompt_tokens = 65, max_tokens = 1, blocks = blocks })))
    serve.run(e)
    local place = assert(e:receive(64))
    assert(e:submit(request("b", { prompt_tokens = 80, keep = place, blocks = { 1, 2, 3, 4, 5 } })))
    local step = assert(e:step(9))
    assert.are.same({ 16, 80, 0 }, { step.query_len[0], step.seq_len[0], #step.kept })
    assert(e:submit(request("c", { prompt_tokens = 200, keep = place })))
    e:close()
  end)

  it("believes nothing that the host wrote into the place's table", function()
    local e = engine()
    local place = assert(e:receive(64))
    local slot = place.slots[1]
    assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
    place.tokens, place.slots[1], place.generations[1] = 128, 1, 9
    local step = assert(e:step(1))
    assert.are.same({ 64, slot }, { step.metadata.checkpoint_offsets[0],
                                    step.metadata:group(0).checkpoint_state_indices[0] })
    e:close()
  end)

  it("is refused, with the reason", function()
    local e, other = engine(), engine()
    local place, foreign = assert(e:receive(64)), assert(other:receive(64))
    local function refused(why, fields)
      local given = request("x", { prompt_tokens = 200 })
      for name, value in pairs(fields) do given[name] = value end
      assert.are.same({ nil, "request x: " .. why, EINVAL }, { e:submit(given) })
    end
    local none = "keep: want what receive() of this engine gave, used by no other request"
    refused(none, { keep = {} })
    refused(none, { keep = foreign })
    refused("keep.tokens = 64, want less than prompt_tokens = 64", { keep = place, prompt_tokens = 64 })
    refused("keep.tokens = 64, want more than the 64 that it begins with", { keep = place, slot = place })
    assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
    refused(none, { keep = place })
    e:cancel "a" -- the place is as it was
    refused("slot: want a state that a completed step has left (step.kept)", { slot = place })
    assert(e:submit(request("b", { prompt_tokens = 200, keep = place })))
    e:complete(assert(e:step(1)), 1)
    refused(none, { keep = place }) -- it is a state now
    local state = assert(e:export "b")
    refused(none, { keep = state })
    e:release(place)
    refused(("slot.slots[1] = %d, want a slot that is still held"):format(place.slots[1]), { slot = place })
    assert.has_error(function() e:submit(request("y", { keep = 7 })) end,
                     "gdnmeta.Engine:submit: keep = 7, want what engine:receive() gave")
    e:release(state)
    serve.run(e)
    assert.are.equal(0, e:slots().used)
    e:close()
    other:close()
  end)

  it("keeps the place over a build that is refused, and leaves it in the next step", function()
    local e = engine()
    local place = assert(e:receive(64))
    assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
    local twin = e.private.steps[1]
    twin.builder = setmetatable({ build = function() return nil, "no", EINVAL end }, { __index = e.builder })
    assert.are.same({ nil, "no", EINVAL }, { e:step(1) })
    assert.are.equal(0, twin.rows.checkpoint_len[0])
    twin.builder = e.builder
    local step = assert(e:step(2))
    assert.are.same({ { place }, { 64 } }, { step.kept, list(step.metadata.checkpoint_offsets) })
    e:complete(step, 2)
    e:release(place)
    serve.run(e)
    assert.are.equal(0, e:slots().used)
    e:close()
  end)

  it("keeps the place over a step that is lost, and leaves it in a later one", function()
    local e = engine { kv_blocks = 40, kv_block_size = 16 }
    local place = assert(e:receive(128))
    assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
    assert.are.same({ place }, assert(e:step(1)).kept)
    assert.are.same({ "a" }, e:lose_states())
    local why = "request b: keep: want what receive() of this engine gave, used by no other request"
    assert.are.same({ nil, why,
                      EINVAL }, { e:submit(request("b", { prompt_tokens = 200, keep = place })) })
    local step = assert(e:step(2))
    assert.are.same({ { "a" }, { place } }, { step.ids, step.kept })
    assert(e:complete(step, 2))
    assert(e:verify())
    assert(e:submit(request("b", { prompt_tokens = 200, slot = place })))
    e:release(place)
    assert.are.same({ "a", "b" }, assert(e:step(3)).ids)
    e:lose_states()
    serve.run(e)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    e:close()
  end)

  it("that is gone when its step is lost leaves the place to nobody", function()
    local e = engine()
    local place = assert(e:receive(128))
    assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
    assert(e:step(1))
    assert(e:cancel "a")
    e:lose_states()
    assert.are.same({ nil, "request b: keep: its state was lost with the device, release it", EINVAL },
                    { e:submit(request("b", { prompt_tokens = 200, keep = place })) })
    e:release(place)
    assert.are.equal(0, e:slots().used)
    assert(e:verify())
    serve.run(e)
    e:close()
  end)

  it("says so in the batch that replaces one which somebody wrote beyond", function()
    local e = engine()
    local place = assert(e:receive(64))
    assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
    local rows = e.private.steps[1].rows
    ffi.cast("int32_t *", rows.query_len)[-1] = 5
    assert.is_nil((e:step(1)))
    local step = assert(e:step(2))
    assert.are.same({ { place }, { 64 } }, { step.kept, list(step.metadata.checkpoint_offsets) })
    e:complete(step, 2)
    e:close()
  end)

  it("is as it was in a recording, which a rebuild makes the same of, under any option", function()
    local path = os.tmpname()
    for _, options in ipairs { {}, { checkpoint_any = true }, { gdn_prefill_backend = "flashinfer" },
                               { full_cuda_graph = "mixed" } } do
      local e = engine({}, options)
      local place = assert(e:receive(options.checkpoint_any and 65 or 64))
      local recording = assert(e:record(path))
      assert(e:submit(request("a", { prompt_tokens = 200, keep = place })))
      assert(e:submit(request("b", { prompt_tokens = 20 })))
      serve.run(e)
      assert.is_true(recording:close())
      e:close()
      local rebuild, kept = nil, 0
      local n, missing, message = recordings.walk(path, function(step, reader)
        rebuild = rebuild or assert(rebuilds.new(reader.header, "cpu"))
        local meta = assert(rebuild:build(step))
        assert.are.same({}, (rebuild:differences(step, meta)))
        if step.checkpoint_len then
          kept = kept + 1
          assert.are.same({ { place.tokens, 0 }, { { place.slots[1], 0 }, { place.slots[2], 0 } } },
                          { step.checkpoint_len, step.checkpoint_slot })
          step.checkpoint_slot[2][1] = 8
          assert.are.same({ { name = "checkpoint_state_indices", group = 1 } },
                          (rebuild:differences(step, assert(rebuild:build(step)))))
        end
      end)
      assert.are.same({ recording.steps, 1 }, { n, kept, missing, message })
      rebuild:close()
      -- vLLM's rules have no such rows: a refusal that says so, and no other.
      local reader, refused = assert(require("gdnmeta").record.open(path)), {}
      for _, rules in ipairs { "vllm-2026-08", "vllm-2026-11" } do
        if options.full_cuda_graph ~= "mixed" then
          local other = assert(rebuilds.new(reader.header, "cpu", rules))
          recordings.walk(path, function(step) refused[#refused + 1] = select(2, other:build(step)) end)
          other:close()
          assert.are.equal("rows[0].checkpoint_len = " .. place.tokens .. ", want 0 but under strict",
                           refused[#refused])
        end
      end
      reader:close()
    end
    os.remove(path)
  end)
end)
