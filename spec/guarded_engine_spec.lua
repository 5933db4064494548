-- A stray write beside a batch of an engine: the step is refused, and the engine goes on with another batch.
local gdn = require "gdnmeta"
local serve = require "spec.support.serve"

local ARRAYS = { query_len = "query_len", seq_len = "seq_len", drafts = "num_draft_tokens",
                 last_accepted = "num_accepted_tokens", prompt_done = "prompt_done", table_row = "table_row",
                 read_column = "read_column" }

-- Steps to the end, with a write to step[name][at] before the one numbered `when`.
local function serve_with(engine, name, at, when)
  for id = 1, 6 do assert(engine:submit(serve.request(id, { max_tokens = 6 }))) end
  local now, refused, emitted = 0, nil, 0
  while not engine:idle() do
    now = now + 1
    if now == when then engine.steps[1][name][at] = 5 end
    local step, message, code = engine:step(now)
    if step then
      assert(engine:complete(step, nil, now))
      for row = 0, step.num_rows - 1 do emitted = emitted + step.emitted[row] end
    else
      assert.is_nil(refused)
      refused = { message, code }
    end
    assert.is_true(now < 100)
  end
  return refused, emitted
end

describe("An engine whose batch was written beside", function()
  for field, array in pairs(ARRAYS) do
    it("refuses one step and goes on, " .. field, function()
      for _, at in ipairs { -1, -16, 4, 19 } do
        local engine = serve.engine "fcfs"
        local first = engine.steps[1].batch
        local refused, emitted = serve_with(engine, field, at, 3)
        assert.are.same({ ("something wrote outside of batch.%s[0 .. 3]"):format(array), gdn.EGUARD },
                        refused)
        assert.are.equal(6 * 6, emitted)
        assert.are.equal(6, engine.stats.finished)
        assert.are.equal(0, engine:slots().used)
        assert.are_not.equal(first, engine.steps[1].batch)
        first:close() -- it is nobody's any more
        engine:close()
      end
    end)
  end

  it("keeps its batch otherwise", function()
    local engine = serve.engine "fcfs"
    local first = engine.steps[1].batch
    assert.is_nil((serve_with(engine, "query_len", 0, 0)))
    assert.are.equal(first, engine.steps[1].batch)
    engine:close()
  end)

  it("knows the rows of the step that is in flight", function()
    local options = { num_speculative_tokens = 1 }
    local engine = assert(gdn.engine { builder = serve.builder(options), async = true,
                                       second_builder = serve.builder(options) })
    assert(engine:submit(serve.request(1, { max_tokens = 8 })))
    assert(engine:complete(engine:step(0), nil, 0)) -- the prompt
    local first, second = assert(engine:step(1)), assert(engine:step(2))
    second.seq_len[-1] = 7
    local ok, message, code = engine:complete(first, nil, 2) -- nothing accepted: the second is built again
    assert.are.same({ "something wrote outside of batch.seq_len[0 .. 7]", gdn.EGUARD }, { message, code })
    assert.is_nil(ok)
    assert(engine:complete(second, nil, 3))
    serve.run(engine)
    assert.are.equal(1, engine.stats.finished)
    engine:close()
  end)
end)
