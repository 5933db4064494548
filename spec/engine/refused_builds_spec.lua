-- Two steps in flight, the second of which is not built, or built again: what the first one's results then
-- say of where a request's state lies, and that no step is built twice without need.
local serve = require "spec.support.run_engine"

local PROMPT, SAID = 18, 30

local function engine_of(options, of_builder)
  local b = { max_requests = 8 }
  for name, value in pairs(of_builder) do b[name] = value end
  options.async, options.second_builder = true, serve.builder(b)
  return serve.engine("fcfs", options, b)
end

-- The builder of the next step, and of the one after.
local function builders(e) return { e.private.builder, e.private.second_builder } end

local function refuse(e, code)
  for _, builder in ipairs(builders(e)) do
    rawset(builder, "build", code and function() return nil, "refused", code end)
  end
end

local function text(n)
  local list = {}
  for k = 1, n do list[k] = k end
  return list
end

describe("With two steps in flight, a step", function()
  it("that is not built leaves a state that it had moved aside in the column where it now lies", function()
    local e = engine_of({ hash_block_size = 4, max_model_len = 200 },
                        { max_blocks_per_row = 2, num_slots = 24 })
    local p, now, aside = e.private, 0, 0
    assert(e:submit { id = 1, prompt_tokens = PROMPT, max_tokens = SAID, tokens = text(PROMPT) })
    while not e:idle() do
      now = now + 1
      local step = assert(e:step(now))
      local i = step.request[0]
      refuse(e, -3)
      local second, message = e:step(now)
      refuse(e)
      assert.is_true(message == "refused" or second.num_rows == 0)
      local r = p.requests
      local is_aside = r.sourced[i] == 1 and r.kept[i] == r.computed[i]
      local token = e:request(1).known + 1
      assert(e:complete(step, now, { [1] = step.samples[0] == 1 and { tokens = { token } } or {} }))
      if e:request(1) and is_aside then
        aside = aside + 1
        assert.are.equal(p.states.spare, r.read_column[i])
      elseif e:request(1) then
        assert.are.equal(0, r.read_column[i])
      end
      assert(e:verify())
    end
    assert.are.equal(8, aside) -- at 16, 20, ... and 44 tokens
    e:close()
  end)

  it("is built again where drafts were rejected, and at no other time", function()
    local e = engine_of({ max_model_len = 200 }, { num_speculative_tokens = 2, max_rows = 8, num_slots = 24,
                                                   max_blocks_per_row = 3 })
    local built, rejects = 0, 0
    for _, builder in ipairs(builders(e)) do
      local build = builder.build
      rawset(builder, "build", function(...)
        built = built + 1
        return build(...)
      end)
    end
    assert(e:submit(serve.request(1, { max_tokens = 60 })))
    local now, flying, steps = 0, {}, 0
    while not e:idle() do
      now = now + 1
      local step = assert(e:step(now))
      if step.num_rows > 0 then flying[#flying + 1], steps = step, steps + 1 end
      if #flying == 2 or step.num_rows == 0 then
        local first = table.remove(flying, 1)
        local drafts = math.max(first.drafts[0], 0)
        local accepted = now % 3 == 0 and drafts > 0 and drafts - 1 or drafts
        if accepted < drafts and #flying > 0 then rejects = rejects + 1 end
        assert(e:complete(first, now, { [1] = { accepted_drafts = accepted, next_drafts = 2 } }))
      end
    end
    assert.is_true(rejects > 5)
    assert.are.equal(steps + rejects, built)
    e:close()
  end)
end)
