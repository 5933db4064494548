-- What a request holds answers at once whether it suffices for a step: it says yes of nothing that is missing
-- cell by cell, and of all that was reserved for the step at hand.
local drawer = require "spec.support.drawer"
local serve = require "spec.support.run_engine"

local BLOCK, MAX = 4, 60

local function engine_of(align, spec, options)
  local kv_tokens = options.kv and 400 or nil
  return serve.engine("fcfs", { max_model_len = MAX, kv_tokens = kv_tokens, kv_block_size = 4 }, {
    mamba_cache_mode = align and "align" or "none", mamba_block_size = align and BLOCK or nil,
    max_blocks_per_row = align and 20 or spec + 1, num_slots = 60, num_speculative_tokens = spec,
    max_num_seqs = 3, max_rows = 9, num_groups = 2,
  })
end

local function slow() error "looked cell by cell at what a quick look had found" end

-- Yes, no, and no where nothing is missing: of all steps that a request could make next.
local function ask(p, i, count)
  local states, computed = p.states, p.requests.computed[i]
  for tokens = computed + 1, math.min(computed + 2 * BLOCK, MAX - 1 - p.num_spec) do
    for drafts = 0, math.min(p.num_spec, tokens - computed - 1) do
      local slots, kv = states:missing_slots(i, tokens, drafts), states:missing_kv(i, tokens)
      local is_there = slots == 0 and kv == 0
      local covers = states:covers(i, tokens, drafts) == 1
      assert.is_true(is_there or not covers)
      if covers and states.align then states.missing_slots = slow end
      assert.are.same(covers and { 0, 0 } or { slots, kv }, { states:needs(i, tokens, drafts) })
      states.missing_slots = nil
      local answer = covers and "yes" or is_there and "not known" or "no"
      count[answer] = (count[answer] or 0) + 1
    end
  end
end

local function play(align, spec, options)
  local e, draw, count = engine_of(align, spec, options), drawer(7), {}
  for id = 1, 3 do assert(e:submit(serve.request(id, { prompt_tokens = 3 * id + 1, max_tokens = 40 }))) end
  local p = e.private
  local settle = p.states.settle
  function p.states:settle(i, tokens)
    assert.is_true(tokens >= (p.requests.first_column[i] + 1) * BLOCK, "no block is behind")
    settle(self, i, tokens)
  end
  for now = 1, 30 do
    local step = assert(e:step(now))
    for row = 0, step.num_rows - 1 do
      local i, drafts = step.request[row], math.max(step.drafts[row], 0)
      assert.equal(1, p.states:covers(i, step.seq_len[row], drafts), "what was reserved is there")
      step.accepted_drafts[row] = draw(drafts + 1) - 1
    end
    assert(e:complete(step, now))
    for at = 0, p.num_running - 1 do ask(p, p.running[at], count) end
  end
  e:close()
  return count
end

describe("What a request holds", function()
  -- By the number of drafts, from 0 on. Where nothing is missing it says no a few times.
  for align, want in pairs {
    [true] = { { yes = 132, no = 588 }, { yes = 223, no = 917 },
               { yes = 336, no = 1065, ["not known"] = 6 } },
    [false] = { { yes = 720 }, { yes = 213, no = 897 }, { yes = 347, no = 1039 } },
  } do
    it("is looked at quickly, " .. (align and "in mode align" or "in mode none"), function()
      local counts = {}
      for spec = 0, 2 do counts[spec + 1] = play(align, spec, { kv = spec > 0 }) end
      assert.are.same(want, counts)
    end)
  end

  -- Two steps in flight: drafts of the first may be rejected, and the second is then built again without.
  it("lacks the column that a step without its drafts would write, where that is gone", function()
    for spec = 1, 3 do
      local builder = { mamba_cache_mode = "align", mamba_block_size = BLOCK, max_blocks_per_row = 20,
                        num_slots = 60, num_speculative_tokens = spec }
      local e = serve.engine("fcfs", { max_model_len = MAX, async = true,
                                       second_builder = serve.builder(builder) }, builder)
      local p, looked = e.private, {}
      assert(e:submit(serve.request(1, { max_tokens = 30 })))
      for now = 1, 12 do
        local step = assert(e:step(now))
        local i = step.request[0]
        assert(e:complete(step, now))
        local computed, cells = p.requests.computed[i], p.states.tables[0]
        local at = p.requests.table_row[i] * p.states.width + math.floor(computed / BLOCK)
        for drafts = 1, spec do
          local tokens = computed + 1 + drafts
          local before, slot = p.states:missing_slots(i, tokens, drafts), cells[at]
          cells[at] = 0
          assert.are.equal(before + (slot ~= 0 and 1 or 0), p.states:missing_slots(i, tokens, drafts))
          cells[at] = slot
          if slot ~= 0 and math.floor((tokens - 1) / BLOCK) > math.floor(computed / BLOCK) then
            looked[drafts] = true
          end
        end
      end
      assert.are.equal(spec, #looked)
      e:close()
    end
  end)

  it("is all that a request needs in mode none, where nothing counts attention cache", function()
    local count = play(false, 2, {})
    assert.are.same({}, { count.no, count["not known"] })
    assert.is_true(count.yes > 500)
  end)
end)
