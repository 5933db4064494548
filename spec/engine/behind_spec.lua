-- What the plan of a step counts on: slots that requests leave behind as they come into another block (mode
-- align), beside those that are free. Counted here cell by cell of the state table.
local serve = require "spec.support.run_engine"

local BLOCK = 4

local function engine_of(spec)
  return serve.engine("fcfs", { max_model_len = 64 }, {
    mamba_cache_mode = "align", mamba_block_size = BLOCK, max_blocks_per_row = 20, num_slots = 60,
    num_speculative_tokens = spec, max_num_seqs = 4, max_rows = 16,
  })
end

-- The most slots that would come: a waiting request wants one a draft, and one more.
local function coming(plan, waiting)
  local most = -1
  while plan:is_coming(waiting, BLOCK, most) do most = most + 1 end
  return most
end

-- Cells of the columns that a step to `ends` tokens leaves behind.
local function left(e, i, ends)
  local states, n = e.private.states, 0
  local row = e.private.requests.table_row[i] * states.width
  for column = 0, math.floor((ends - 1) / BLOCK) - 1 do
    if states.tables[0][row + column] ~= 0 then n = n + 1 end
  end
  return n
end

local function begin(e)
  local p = e.private
  p.plan:begin(64, 4, p.states:free_slots(), 0, 0, 0)
end

describe("Slots that a plan counts on", function()
  it("are those of the blocks that decodes and chunks leave, and of none that is taken back", function()
    local seen = 0
    for spec = 0, 2 do
      for prompt = 1, 12 do
        local e = engine_of(spec)
        assert(e:submit(serve.request("a", { prompt_tokens = prompt, max_tokens = 20 })))
        for now = 1, 9 do
          assert(e:complete(assert(e:step(now)), now))
          local p = e.private
          local i, plan = p.requests.index.a, p.plan
          if not i then break end
          assert(e:submit(serve.request "w"))
          local w, computed = p.requests.index.w, p.requests.computed[i]
          for drafts = 0, spec do
            for _, is_chunk in ipairs { false, true } do
              begin(e)
              if is_chunk then plan:put_chunk(i, 1 + drafts) else plan:put_decode(i, drafts) end
              local free = plan.slots_left
              local want = left(e, i, computed + 1 + drafts)
              assert.are.equal(free + want, coming(plan, w))
              seen = seen + want
              plan:preempt(i) -- all that it holds is free then
              assert.are.equal(p.states:free_slots() + p.states:held_slots(i), coming(plan, w))
            end
          end
          begin(e)
          assert(e:cancel "w")
        end
        e:close()
      end
    end
    assert.is_true(seen > 20, seen)
  end)
end)
