-- Random traffic, every invariant in every step, the states followed slot by slot.
local play = require "spec.support.random_traffic"
local reference_engine = require "spec.support.reference_engine"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 50)
local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

local function first_seed() return tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24 end

local function each_case(cases, body)
  local seed = first_seed()
  for case = seed, seed + cases - 1 do
    math.randomseed(case)
    local c = play.configuration()
    body(c, ("GDN_SEED=%d"):format(case))
  end
end

local function run(c, where, policy, opts)
  local engine = play.engine(c, policy)
  opts = opts or {}
  opts.engine, opts.where = engine, where
  opts.requests = opts.requests or play.requests(c, math.random(1, 40))
  local books = play.run(c, opts)
  local failure = engine:failures()[1]
  assert(not failure, failure and where .. ": " .. failure.message)
  engine:close()
  return books, engine
end

describe("Random traffic", function()
  it("keeps every invariant in every step, with every shipped policy", function()
    each_case(CASES, function(c, where)
      run(c, where, SHIPPED[math.random(#SHIPPED)], { cancel = math.random() < 0.5 and 0.05 or 0 })
    end)
  end)

  it("keeps them with two steps in flight, and wastes at most one row for each request that ends", function()
    each_case(CASES, function(c, where)
      c.async = true
      local _, engine = run(c, where, SHIPPED[math.random(#SHIPPED)],
                            { cancel = math.random() < 0.5 and 0.05 or 0 })
      assert(engine.stats.wasted_rows <= engine.stats.finished, where)
    end)
  end)

  it("keeps them in buckets, one step at a time or two", function()
    each_case(CASES, function(c, where)
      c.async = math.random() < 0.3
      play.in_buckets(c)
      run(c, where, SHIPPED[math.random(#SHIPPED)], { cancel = math.random() < 0.5 and 0.05 or 0 })
    end)
  end)

  it("keeps them without chunked prefill", function()
    each_case(math.ceil(CASES / 4), function(c, where)
      c.chunked, c.threshold, c.align, c.block, c.budget = false, 0, false, 16, c.max_model_len
      run(c, where, "decode_first")
    end)
  end)

  it("gives every request the same tokens, one step at a time or two", function()
    each_case(math.ceil(CASES / 2), function(c, where)
      local requests = play.requests(c, math.random(1, 30))
      local sync = run(c, where, "fcfs", { requests = requests, checkpoints = false })
      c.async = true
      local async = run(c, where, "fcfs", { requests = requests, checkpoints = false })
      for id, q in pairs(sync.done) do
        assert.are.equal(q.emitted, async.done[id].emitted, where .. " request " .. id)
      end
    end)
  end)
end)

local POLICIES = {
  { "fcfs", { decode_first = false } },
  { "decode_first", { decode_first = true, rank = function(q) return q.arrival + q.computed / 100 end } },
  { "priority", { decode_first = true, rank = function(q) return q.priority * 1e9 + q.arrival end,
                  bound = function(q) return q.priority * 1e9 + q.arrival + 1e6 end } },
  { { order = "fcfs", decode_first = true, chunk = 13 }, { decode_first = true, chunk = 13 } },
}

describe("The reference engine", function()
  local function list_of(step)
    local rows = {}
    for row = 0, step.num_rows - 1 do
      rows[row + 1] = { id = step:id(row), n = step.query_len[row], drafts = step.drafts[row] }
    end
    return rows
  end

  local function results_of(step)
    local results = {}
    for row = 0, step.num_rows - 1 do
      results[step:id(row)] = { accepted = step.accepted_drafts[row], stop = step.stop[row],
                                drafts = step.next_drafts[row] }
    end
    return results
  end

  it("schedules, preempts and finishes the same", function()
    each_case(CASES, function(c, where)
      local policy = POLICIES[math.random(#POLICIES)]
      if type(policy[1]) == "table" and c.align then policy = POLICIES[1] end -- no chunk below a block
      local reference = reference_engine.new(c, policy[2])
      run(c, where, policy[1], {
        checkpoints = false, cancel = math.random() < 0.5 and 0.05 or 0,
        on_submit = function(given) reference:submit(given) end,
        on_cancel = function(id) reference:cancel(id) end,
        on_step = function(step)
          local rows, admitted, preempted = reference:step()
          local at = ("%s step %d"):format(where, step.number)
          assert.are.same(preempted, step.preempted, at)
          assert.are.same(admitted, step.admitted, at)
          assert.are.same(rows, list_of(step), at)
        end,
        on_complete = function(step)
          local emitted, finished = reference:complete(results_of(step))
          local at = ("%s step %d"):format(where, step.number)
          for row = 0, step.num_rows - 1 do
            assert.are.equal(emitted[step:id(row)] or 0, step.emitted[row], at)
          end
          for _, id in ipairs(step.finished) do assert.is_true(finished[id], at) end
        end,
      })
    end)
  end)
end)
