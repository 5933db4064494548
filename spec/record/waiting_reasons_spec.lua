-- Why each request waited, as recordings say it.
local plans = require "gdnmeta.engine.plan"
local recordings = require "spec.support.recordings"
local waiting_reasons = require "gdnmeta.record.waiting_reasons"

describe("Why a request waits", function()
  -- Submits what is given, runs steps, and returns the reason of request "w" in the last one.
  local function reason(options, builder, list, steps)
    local e = recordings.engine(options, builder)
    for _, r in ipairs(list) do
      r.max_tokens = r.max_tokens or 50
      assert(e:submit(r))
    end
    for now = 1, steps or 1 do
      local step = assert(e:step(now))
      if now == (steps or 1) then break end
      assert(e:complete(step, now))
    end
    local i = e.private.requests.index.w
    assert.are.equal("waiting", e:request "w".state)
    local why = waiting_reasons.of(e.private, i)
    e:close()
    return why
  end
  local function prompt(id, n, more)
    local r = { id = id, prompt_tokens = n }
    for name, value in pairs(more or {}) do r[name] = value end
    return r
  end

  it("is what the engine ran out of", function()
    local two = { prompt(1, 10), prompt("w", 10) }
    assert.are.equal("seats", reason({ max_num_seqs = 1 }, nil, two))
    assert.are.equal("budget", reason({}, nil, { prompt(1, 100), prompt("w", 10) }))
    assert.are.equal("whole", reason({ chunked_prefill = false, max_model_len = 60 }, nil,
      { prompt(1, 40, { max_tokens = 9 }), prompt("w", 40, { max_tokens = 9 }) }))
    for left, why in pairs { [0] = "budget", [1] = "whole" } do
      assert.are.equal(why, reason({ chunked_prefill = false, max_model_len = 70 }, nil,
        { prompt(1, 64 - left, { max_tokens = 1 }), prompt("w", 2, { max_tokens = 1 }) }))
    end
    assert.are.equal("kv", reason({ kv_tokens = 208, kv_block_size = 16 }, nil,
      { prompt(1, 30), prompt("w", 190, { max_tokens = 2 }) }))
    assert.are.equal("slots", reason({}, { num_slots = 2, num_groups = 1 }, two))
    local align = { mamba_cache_mode = "align", mamba_block_size = 48, max_blocks_per_row = 8,
                    num_slots = 40 }
    assert.are.equal("align", reason({}, align, { prompt(1, 48), prompt("w", 100) }))
  end)

  it("is the policy, where that said so", function()
    local function skip(view, plan)
      for i in view:waiting() do
        if view:request(i).id == "w" then plan:skip(i) end
      end
      plan:fill()
    end
    local holds = { skip, { admit = function(r) return r.id ~= "w" end },
                    { chunk = function(r, want) return r.id == "w" and 0 or want end } }
    for _, policy in ipairs(holds) do
      assert.are.equal("held", reason({ policy = policy }, nil, { prompt(1, 10), prompt("w", 10) }, 2))
      assert.are.equal("held", reason({ policy = policy, max_num_seqs = 1 }, nil, -- nor is there a seat
        { prompt("w", 10), prompt(1, 10) }, 1))
    end
  end)

  it("is that running requests are short, or were, by either mark alone, while any runs", function()
    local e = recordings.engine()
    for id = 1, 2 do assert(e:submit(prompt(id, 10, { max_tokens = 9 }))) end
    assert(e:step(1))
    assert(e:submit(prompt("w", 10, { max_tokens = 9 })))
    local private, i = e.private, e.private.requests.index.w
    local seen = {}
    for _, is_short in ipairs { false, true } do
      for _, is_tight in ipairs { false, true } do
        for _, running in ipairs { 0, 1 } do
          local was = private.num_running
          private.plan.is_short, private.is_tight, private.num_running = is_short, is_tight, running
          seen[#seen + 1] = waiting_reasons.of(private, i)
          private.plan.is_short, private.is_tight, private.num_running = false, false, was
        end
      end
    end
    assert.are.same({ "queue", "queue", "queue", "tight", "tight", "tight", "tight", "tight" }, seen)
    private.requests.mark[i] = plans.SKIPPED
    for flight, why in pairs { [0] = "held", [1] = "flight" } do
      private.requests.flight[i] = flight
      assert.are.equal(why, waiting_reasons.of(private, i))
    end
    private.requests.mark[i], private.requests.flight[i] = 0, 0
    private.step_number = 5
    for held, why in pairs { [0] = "queue", [1] = "held", [4] = "held", [5] = "held" } do
      rawset(private.requests, "held", { [i] = held }) -- the last step in which the policy held it
      assert.are.equal(why, waiting_reasons.of(private, i))
    end
    rawset(private.requests, "held", nil)
    e:close()
  end)

  it("is that others need the memory first", function()
    local e = recordings.engine({ kv_tokens = 96, kv_block_size = 16, max_model_len = 90,
                                  kv_headroom = 0 })
    for id = 1, 3 do assert(e:submit { id = id, prompt_tokens = 28, max_tokens = 40 }) end
    local seen, now = {}, 0
    while not e:idle() do
      now = now + 1
      local step = assert(e:step(now))
      local i = e.private.fifo.head
      while i >= 0 do
        seen[waiting_reasons.of(e.private, i)] = true
        i = e.private.requests.next[i]
      end
      assert(e:complete(step, now))
    end
    assert.is_true(e.stats.preemptions > 0)
    assert.is_true(seen.preempting and (seen.kv or seen.tight))
    e:close()
  end)
end)
