-- What a model in Lua is given of a step, and what its answers come to, row by row.
local made = require "gdnmeta.worker.answer"
local ffi = require "ffi"
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"

local int32s, uint64s = gdn.array_of "int32_t", gdn.array_of "uint64_t"

local function zero(list)
  local from_zero = {}
  for n, value in ipairs(list) do from_zero[n - 1] = value end
  return from_zero
end

-- A step of rows { query_len, seq_len, drafts, samples, table_row, temperature, top_p, seed }.
local function step_of(tokens, ...)
  local rows, step = { ... }, { tokens = zero(tokens) }
  step.num_rows = #rows
  for field, name in ipairs { "query_len", "seq_len", "drafts", "samples", "table_row", "temperature",
                              "top_p" } do
    local list = {}
    for n, row in ipairs(rows) do list[n] = row[field] end
    step[name] = zero(list)
  end
  step.seed = uint64s(#rows + 1)
  for n, row in ipairs(rows) do step.seed[n - 1] = row[8] or 0 end
  return step
end

-- A model that says what stands in `next`, and tells what it was asked.
local function model_of(next, chooses)
  local model = { seen = {}, chosen = {} }
  function model.forward(_, metadata, tokens)
    for t = 1, metadata.num_actual_tokens do model.seen[t] = tokens[t - 1] end
    return zero(next)
  end
  model.choose = chooses and function(_, ...)
    model.chosen[#model.chosen + 1] = { ... }
    return chooses[#model.chosen]
  end
  return model
end

local function said(answer, rows)
  local emitted, words = {}, {}
  for row = 1, rows do emitted[row] = answer.emitted[row - 1] end
  for n = 1, answer.num_said do words[n] = answer.said[n - 1] end
  return { emitted, words }
end

describe("The answers of a model in Lua", function()
  local answer
  before_each(function()
    answer = made.new(ffi.new("gdn_config", { max_num_batched_tokens = 16, max_rows = 4, max_requests = 8,
                                                 num_speculative_tokens = 3 }))
  end)

  it("go on as long as the drafts are what it would have said", function()
    local model = model_of { 20, 21, 22, 99, 40, 51, 52, 60 }
    answer:run(model, step_of({ 10, 20, 21, 7, 4, 50, 51, 6 }, { 4, 14, 3, 1, 0, 0, 1 },
                              { 1, 9, 0, 1, 2, 0, 1 }, { 3, 8, 1, 1, 5, 0, 1 }), { num_actual_tokens = 8 })
    -- The third has one draft, 6, and 52 is said before it.
    assert.are.same({ { 3, 1, 1 }, { 20, 21, 22, 40, 52 } }, said(answer, 3))
    answer:run(model, step_of({ 10, 20, 21, 22 }, { 4, 14, 3, 1, 0, 0, 1 }), { num_actual_tokens = 4 })
    assert.are.same({ { 4 }, { 20, 21, 22, 99 } }, said(answer, 1))
  end)

  it("are none of a row that does not end its prompt, and none without rows", function()
    local model = model_of { 1, 2, 3, 4 }
    answer:run(model, step_of({ 5, 6, 7 }, { 2, 2, -1, 0, 0, 0, 1 }, { 1, 4, -1, 1, 1, 0, 1 }),
               { num_actual_tokens = 3 })
    assert.are.same({ { 0, 1 }, { 3 } }, said(answer, 2))
    answer:run(model, step_of {}, { num_actual_tokens = 2 })
    assert.are.same({ {}, {} }, said(answer, 0))
    assert.are.same({ 0, 0, 7 }, model.seen) -- padding
  end)

  it("stand where the next step says that they are to come, by table row", function()
    local model = model_of { 31, 32, 33 }
    answer:run(model, step_of({ 1, 2 }, { 1, 1, -1, 1, 7, 0, 1 }, { 1, 1, -1, 1, 0, 0, 1 }),
               { num_actual_tokens = 2 })
    answer:run(model, step_of({ -1, -1, 9 }, { 1, 2, -1, 1, 0, 0, 1 }, { 1, 2, -1, 1, 7, 0, 1 },
                              { 1, 2, -1, 1, 3, 0, 1 }), { num_actual_tokens = 5 })
    assert.are.same({ 32, 31, 9, 0, 0 }, model.seen)
  end)

  it("are drawn where there is a temperature, and each is told its place", function()
    local model = model_of({ 1, 2, 3, 4, 5 }, { 8, 9, 7, 6 })
    local rows = { { 3, 13, 2, 1, 0, 0.5, 0.25, 2 ^ 63 }, { 1, 4, 0, 1, 1, 0, 1, 7 },
                   { 1, 6, -1, 1, 2, 2, 1, 5 } }
    answer:run(model, step_of({ 5, 8, 9, 1, 1 }, unpack(rows)), { num_actual_tokens = 5 })
    local seed = tonumber(ffi.cast("int64_t", ffi.cast("uint64_t", 2 ^ 63)))
    assert.are.same({ { 0, 0.5, 0.25, seed, 11 }, { 1, 0.5, 0.25, seed, 12 }, { 2, 0.5, 0.25, seed, 13 },
                      { 4, 2, 1, 5, 6 } }, model.chosen)
    assert.are.same({ { 3, 1, 1 }, { 8, 9, 7, 4, 6 } }, said(answer, 3))
    answer:run(model_of { 1 }, step_of({ 5 }, { 1, 4, 0, 1, 0, 0.5, 1, 7 }), { num_actual_tokens = 1 })
    assert.are.same({ { 1 }, { 1 } }, said(answer, 1)) -- it draws nothing
  end)
end)

describe("A model in Lua that fails", function()
  it("is a dead worker until another is made", function()
    local engine, fails = hosts.engine({ num_speculative_tokens = 0 }), true
    local host = assert(hosts.new(engine, { model = function()
      return { forward = function(_, metadata)
        if fails then error("no memory", 0) end
        return int32s(metadata.num_actual_tokens)
      end }
    end }))
    host:submit("a", "abc", 3)
    local want = { nil, "the model: no memory", "dead" }
    assert.are.same(want, { host:send() })
    assert.are.same(want, { host.worker:poll() })
    assert.are.equal(0, host.worker.in_flight)
    fails = false
    assert.are.same({ "a" }, host.worker:restart())
    assert.is_true(host:run())
    assert.are.equal(3, #host:said "a")
    host:close()
  end)
end)
