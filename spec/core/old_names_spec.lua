-- Every name of the release before works for this one and warns once, and the name of today does the same
-- without a word.
local gdn = require "gdnmeta"
local old_names = require "gdnmeta.native.old_names"

local function engine_of(options)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64,
                                       num_speculative_tokens = 3 })
  options = options or {}
  options.builder, options.max_model_len = builder, 256
  return assert(gdn.engine(options))
end

-- A step of one decode with three drafts.
local function decode(engine)
  assert(engine:submit { id = "a", prompt_tokens = 5, max_tokens = 20 })
  assert(engine:complete(assert(engine:step(0)), 0))
  return assert(engine:step(1))
end

-- What a hook, or a step of its own, sees of a waiting request and of the step: f(r, ctx) of every hook.
local function shown(f)
  local list = {}
  local function look(r, ctx) list[#list + 1] = f(r, ctx) end
  for _, policy in ipairs { { trusted = true, key = function(r, ctx) look(r, ctx) return 0 end },
                            { key = function(r, ctx) look(r, ctx) return 0 end },
                            { step = function(view, plan)
                              for i in view:waiting() do look(view:request(i), view) end
                              plan:fill()
                            end } } do
    local engine = engine_of { policy = policy }
    for id = 1, 2 do assert(engine:submit { id = id, prompt_tokens = 5, max_tokens = 20 }) end
    for now = 1, 2 do assert(engine:complete(assert(engine:step(now)), now)) end
    assert(#engine:failures() == 0, #engine:failures() > 0 and engine:failures()[1].message)
    engine:close()
  end
  assert(#list > 3)
  return list
end

-- What f(plan) returns in a step of one decode, before it and after it is taken.
local function left(f)
  local got = {}
  local engine = engine_of { policy = { step = function(view, plan)
    for _ = 1, 2 do
      for _, value in ipairs { f(plan) } do got[#got + 1] = value end
      for i in view:running() do plan:take(i) end
    end
    plan:fill()
  end } }
  decode(engine)
  assert(#engine:failures() == 0 and #got > 8)
  return got
end

-- The arrays of a batch that two rows were pushed to, by f(batch).
local function pushed(f)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, num_speculative_tokens = 3 })
  local batch, list = assert(builder:batch()), {}
  f(batch)
  for _, name in ipairs { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                          "table_row", "read_column" } do
    for row = 0, batch.num_rows - 1 do list[#list + 1] = batch.rows[name][row] end
  end
  builder:close()
  return list
end

-- What f(builder) says of a step without and with a violation, and once more: { problem, code } each.
local function checked(f)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, check = true })
  local batch = assert(builder:batch())
  batch:add { query_len = 3, seq_len = 3, blocks = { 1 } }
  local meta, said = assert(builder:build(batch)), {}
  said[1] = { f(builder) }
  meta.non_spec_query_start_loc.data[1] = 2
  assert(builder:check())
  for n = 2, 3 do said[n] = { f(builder) } end
  builder:close()
  assert(#said[1] == 0 and said[2][2] == gdn.EINVAL)
  return said
end

-- ok, problem, code as the release before gave them.
local function problem_first(ok, ...)
  assert(ok == (select("#", ...) == 0 and true or nil))
  return ...
end

-- What a result does, given to complete: tokens that came out, drafts of the next step.
local function outcome(result)
  local engine = engine_of()
  local step = decode(engine)
  assert(engine:complete(step, 2, { a = result }))
  return { step.emitted[0], assert(engine:step(3)).drafts[0] }
end

-- { old name as the warning has it, new name, old use, new use }: both uses return the same.
local NAMES = {
  { "step.accepted", "step.accepted_drafts",
    function()
      local engine = engine_of()
      local step = decode(engine)
      step.accepted[0] = 2
      assert(engine:complete(step, 2))
      return step.emitted[0]
    end,
    function()
      local engine = engine_of()
      local step = decode(engine)
      step.accepted_drafts[0] = 2
      assert(engine:complete(step, 2))
      return step.emitted[0]
    end },
  { "results[id].accepted", "results[id].accepted_drafts",
    function() return outcome { accepted = 2 } end, function() return outcome { accepted_drafts = 2 } end },
  { "results[id].drafts", "results[id].next_drafts",
    function() return outcome { drafts = 1 } end, function() return outcome { next_drafts = 1 } end },
  { "batch:push(query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column)",
    "batch:push(table_row, query_len, seq_len, prompt_done, drafts, accepted, read_column)",
    function()
      return pushed(function(batch)
        batch:push(3, 40, 2, 1, true, 1, 0)
        batch:push(7, 7, nil, nil, false, 2)
      end)
    end,
    function()
      return pushed(function(batch)
        batch:push(1, 3, 40, true, 2, 1, 0)
        batch:push(2, 7, 7, false)
      end)
    end },
  { "builder.check_result", "builder.take_check_result",
    function()
      return { checked(function(b) return b:check_result() end),
               checked(function(b) return b:check_result(true) end) }
    end,
    function()
      return { checked(function(b) return problem_first(b:peek_check_result()) end),
               checked(function(b) return problem_first(b:take_check_result()) end) }
    end },
  { "builder.device_error", "builder.take_device_error",
    function()
      local builder = assert(gdn.builder { device = "cpu" })
      return { builder:device_error(), builder:device_error(true) }
    end,
    function()
      local builder = assert(gdn.builder { device = "cpu" })
      return { problem_first(builder:peek_device_error()), problem_first(builder:take_device_error()) }
    end },
  { "engine:complete(step, results, now)", "engine:complete(step, now, results)",
    function()
      local engine = engine_of()
      local first = assert(engine:complete(decode(engine), nil, 2))
      return { first, engine:complete(assert(engine:step(3)), { a = { stop = true } }, 4),
               engine.private.now }
    end,
    function()
      local engine = engine_of()
      local first = assert(engine:complete(decode(engine), 2))
      return { first, engine:complete(assert(engine:step(3)), 4, { a = { stop = true } }),
               engine.private.now }
    end },
  { "engine.policy_disabled", "engine.policy_enabled",
    function() return engine_of().policy_disabled end,
    function()
      local engine = engine_of { policy = "fair" }
      assert(engine.policy_name == "fair" and engine.async == false)
      return not engine.policy_enabled
    end },
  { "gdn.engine { drafts = }", "gdn.engine { default_drafts = }",
    function() return assert(engine_of { drafts = 1 }).private.default_drafts end,
    function() return assert(engine_of { default_drafts = 1 }).private.default_drafts end },
  { "plan:room()", "plan:left()",
    function() return left(function(plan) return plan:room() end) end,
    function() return left(function(plan) return plan:left() end) end },
}
for old, new in pairs { prompt = "prompt_tokens", computed = "computed_tokens" } do
  NAMES[#NAMES + 1] = { "r." .. old, "r." .. new,
    function() return shown(function(r) return r[old] end) end,
    function() return shown(function(r) return r[new] end) end }
  NAMES[#NAMES + 1] = { "engine:request(id)." .. old, "engine:request(id)." .. new,
    function()
      local engine = engine_of()
      decode(engine)
      return engine:request("a")[old]
    end,
    function()
      local engine = engine_of()
      decode(engine)
      return engine:request("a")[new]
    end }
end
for old, new in pairs { budget_left = "tokens_left", seqs_left = "requests_left", free_slots = "slots_left",
                        k = "max_drafts", block = "chunk_multiple" } do
  NAMES[#NAMES + 1] = { "ctx." .. old, "ctx." .. new,
    function() return shown(function(_, ctx) return ctx[old] end) end,
    function() return shown(function(_, ctx) return ctx[new] end) end }
end

describe("A name of the release before #lua", function()
  local strict, seen, warnings

  before_each(function()
    strict, seen, warnings = old_names.handler, old_names.seen, {}
    old_names.seen = {}
    gdn.on_deprecated = function(message, old, new) warnings[#warnings + 1] = { message, old, new } end
  end)
  after_each(function() old_names.handler, old_names.seen = strict, seen end)

  for _, name in ipairs(NAMES) do
    local old, new, use_old, use_new = unpack(name)
    it(("%s works, and says once to write %s"):format(old, new), function()
      local wanted = use_new()
      assert.are.same({}, warnings)
      assert.are.same(wanted, use_old())
      assert.are.same(wanted, use_old())
      local message = ("gdnmeta: %s is old, write %s; the next release refuses it"):format(old, new)
      assert.are.same({ { message, old, new } }, warnings)
    end)
  end

  it("beside the name of today is refused", function()
    assert.has_error(function() outcome { accepted = 1, accepted_drafts = 1 } end,
      "gdnmeta.Engine:complete: results[a] has accepted and accepted_drafts, want accepted_drafts alone")
    assert.has_error(function() outcome { drafts = 1, next_drafts = 1 } end,
      "gdnmeta.Engine:complete: results[a] has drafts and next_drafts, want next_drafts alone")
    assert.are.same({}, warnings)
  end)

  it("warns on stderr where the host takes no warnings", function()
    local program = [[
      local gdn = require "gdnmeta"
      local b = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 64 })
      local e = assert(gdn.engine { builder = b, max_model_len = 64 })
      for now = 1, 2 do
        e:submit { id = now, prompt_tokens = 4, max_tokens = 1 }
        assert(e:complete(e:step(now), nil, now))
      end
      print(e.stats.finished)
      gdn.on_deprecated = function(_, old) io.write("host: ", old, "\n") end
      e:submit { id = 3, prompt_tokens = 4, max_tokens = 1 }
      print(assert(e:step(3)).accepted[0], pcall(function() gdn.on_deprecated = 5 end))]]
    local file = os.tmpname()
    local written = assert(io.open(file, "w"))
    written:write(program)
    written:close()
    local pipe = io.popen("luajit " .. file .. " 2>&1")
    local text = pipe:read "*a"
    pipe:close()
    os.remove(file)
    assert.are.equal("gdnmeta: engine:complete(step, results, now) is old, write engine:complete(step, now, "
      .. "results); the next release refuses it\n2\nhost: step.accepted\n0\tfalse\t" .. file
      .. ":11: gdnmeta.on_deprecated = 5, want a function or nil\n", text)
  end)
end)
