-- Every hook of a policy and of a cache with every kind of answer, the plan's methods with every kind of
-- argument, and what hooks may read: what is said and what is done then, against spec/goldens/texts.
local noted = require "spec.support.noted"
local serve = require "spec.support.run_engine"

local notes = noted.new "hooks-"
local note, check = notes.note, notes.check

local ANSWERS = { { "nil", nil }, { "nan", 0 / 0 }, { "-1", -1 }, { "0", 0 }, { "0.5", 0.5 }, { "1", 1 },
                  { "2", 2 }, { "2.5", 2.5 }, { "3", 3 }, { "1e9", 1e9 }, { "inf", math.huge },
                  { "true", true }, { "false", false }, { "a string", "text" }, { "a table", {} },
                  { "a function", print } }

-- The first line of what an engine, or its cache, says of the first failure.
local function first_failure(list)
  return list[1] and list[1].message:match("^[^\n]*"):gsub("^spec/[^:]*:%d+: ", "") or "well"
end

-- Six requests of several users for two seats, in a pool that is too small; the cheaper ones come later.
local function play(policy, engine_options)
  local o = { kv_tokens = 64, kv_headroom = 0, max_model_len = 64, breaker = 99 }
  for name, value in pairs(engine_options or {}) do o[name] = value end
  local engine = serve.engine(policy, o, { num_speculative_tokens = 2, num_slots = 9, max_num_seqs = 2,
                                           max_num_batched_tokens = 16, max_blocks_per_row = 3 })
  local done = {}
  for now = 0, 11 do
    if now < 6 then
      engine:submit { id = now, prompt_tokens = 30 - 4 * now, max_tokens = 8, priority = 6 - now,
                      arrival = now, user = "u" .. now % 2 }
    end
    local step = assert(engine:step(now))
    local line = {}
    for row = 0, step.num_rows - 1 do
      line[#line + 1] = ("%s:%d/%d"):format(step:id(row), step.query_len[row], step.drafts[row])
    end
    for _, list in ipairs { "preempted", "rejected" } do
      for _, id in ipairs(step[list] or {}) do line[#line + 1] = list:sub(1, 1) .. tostring(id) end
    end
    done[#done + 1] = table.concat(line, ",")
    assert(engine:complete(step, now))
  end
  local said = first_failure(engine:failures())
  local fallbacks = engine.stats.fallbacks
  engine:close()
  return said, fallbacks, table.concat(done, " ")
end

local HOOKS = { "key", "admit", "chunk", "drafts", "victim", "preempt_for", "on_arrival", "on_admit",
                "on_emit", "on_finish", "on_preempt" }

describe("Answers of hooks", function()
  before_each(notes.clear)

  it("of a policy are taken or named", function()
    for _, hook in ipairs(HOOKS) do
      for _, answer in ipairs(ANSWERS) do
        local policy = { name = "p", [hook] = function() return answer[2] end }
        if hook == "preempt_for" then policy.victim = function(r) return r.priority end end
        note(hook .. " " .. answer[1], play(policy))
      end
    end
    for _, answer in ipairs(ANSWERS) do -- a verdict of nil has a reason
      note("admit nil, " .. answer[1], play { name = "p", admit = function(r)
        if r.id == 1 then return nil, answer[2] end
        return true
      end })
    end
    check "policies"
  end)

  it("of a plan's methods are tokens, or nil and why", function()
    local METHODS = { "take", "admit", "skip", "preempt", "reject" }
    local ARGUMENTS = { {}, { -1 }, { 0.5 }, { "x" }, { 1e6 }, { "running" }, { "waiting" }, { "running", 0 },
                        { "running", 1 }, { "running", -1 }, { "running", 1.5 }, { "running", 5, 1 },
                        { "running", 5, 0.5 }, { "running", 1e6 }, { "waiting", 0 }, { "waiting", 3 },
                        { "waiting", "why" }, { "waiting", "x" } }
    for _, method in ipairs(METHODS) do
      for _, given in ipairs(ARGUMENTS) do
        for _, times in ipairs { 1, 2 } do
          local seen = {}
          local said = play { name = "p", step = function(view, plan)
            local first = { running = view.running()(nil, -1), waiting = view.waiting()(nil, -1) }
            if #seen < 4 and (first[given[1]] or not (given[1] == "running" or given[1] == "waiting")) then
              for _ = 1, times do
                local got, why = plan[method](plan, first[given[1]] or given[1], given[2], given[3])
                seen[#seen + 1] = tostring(got) .. (why and " " .. why or "")
              end
            end
            plan:fill()
          end }
          note(method, given, times, said, table.concat(seen, ", "))
        end
      end
    end
    check "plans"
  end)

  it("of a cache are taken or named", function()
    local VALUES = { { "host", "host" }, { "drop", "drop" }, unpack(ANSWERS) }
    for _, list in ipairs { { 4, 8, 12 }, { 0, -4, 5, 8.5, 1e9 }, { "x" }, { 8, false }, { 0 / 0 } } do
      local name = ("%s %s %s"):format(tostring(list[1]), tostring(list[2]), tostring(list[3]))
      VALUES[#VALUES + 1] = { name, list }
    end
    local longest, longer = {}, {}
    for k = 1, 65537 do longest[k <= 65536 and k or 1], longer[k] = 8, 8 end
    VALUES[#VALUES + 1], VALUES[#VALUES + 2] = { "most", longest }, { "too many", longer }
    for _, hook in ipairs { "checkpoints", "keep", "worth", "demote" } do
      for _, value in ipairs(VALUES) do
        local cache = { name = "c", [hook] = function(_, n, values)
          if hook == "worth" then
            for k = 1, n do values[k] = value[2] end
          end
          return value[2]
        end }
        local options = { cache = cache, breaker = 99, host_slots = hook == "demote" and 3 or 0 }
        local e = serve.caching_engine(options, { num_slots = 8 })
        for id = 1, 8 do
          assert(e:submit(serve.request(id, { prompt_tokens = 18, max_tokens = 1, arrival = id,
                                              blocks = { 1, 2, id % 3 + 10, 100 + id } })))
          while not e:idle() do assert(e:complete(assert(e:step(id)), id)) end
        end
        local stats = e.cache:stats()
        note(hook .. " " .. value[1], first_failure(e:failures()), stats.states, stats.states_made,
          stats.hits, stats.cached_tokens, stats.host_states, e.stats.failures)
        e:close()
      end
    end
    check "caches"
  end)

  it("of a cache that comes while a prompt is under way come from no chunk before its first", function()
    local e, seen, kept = serve.caching_engine(nil, { num_slots = 8 }), {}, nil
    local function look(ctx) seen[#seen + 1] = { ctx.from, ctx.to, ctx.blocks_end, #ctx.every(4) } end
    assert(e:submit(serve.request(1, { prompt_tokens = 9, blocks = { 1, 2 } })))
    local step = assert(e:step(1))
    assert(e:set_cache { name = "c", keep = function(_, ctx)
      look(ctx)
      kept = kept or ctx.every(4)
      return true
    end, checkpoints = function(_, _, _, ctx)
      look(ctx)
      assert(ctx.every(8) ~= kept, "it was another's")
      return {}
    end })
    assert(e:complete(step, 1))
    assert(e:submit(serve.request(2, { prompt_tokens = 9, blocks = { 5, 6 } })))
    assert(e:complete(assert(e:step(2)), 2))
    assert.are.same({ { 0, 0, 0, 0 }, { 8, 9, 8, 0 } }, { seen[1], seen[2] })
    assert.are.same({}, e:failures())
    e:close()
  end)

  it("come from views with fields that are known", function()
    local function read(hook, of)
      local said = play { name = "p", [hook] = function(a, b, c)
        local from = ({ a, b, c })[of]
        return from.nope
      end }
      note(hook, of, said)
    end
    for _, of in ipairs { { "key", 2 }, { "admit", 2 }, { "chunk", 3 }, { "drafts", 3 }, { "victim", 2 } } do
      read(of[1], 1)
      read(of[1], of[2])
    end
    read("step", 1)
    read("step", 2)
    for _, hook in ipairs { "checkpoints", "keep" } do
      for of = 1, 4 do
        local e = serve.caching_engine { cache = { name = "c", [hook] = function(...)
          return (select(of, ...)).nope
        end } }
        assert(e:submit(serve.request(1, { prompt_tokens = 9, blocks = { 1, 2 } })))
        assert(e:complete(assert(e:step(1)), 1))
        note(hook, of, first_failure(e:failures()))
        e:close()
      end
    end
    check "views"
  end)

  it("come from nodes and requests that are these", function()
    local seen = { worth = 0, keep = 0, demote = 0, checkpoints = 0 }
    local function show(hook, what, ctx)
      seen[hook] = seen[hook] + 1
      if seen[hook] % 5 == 1 then note(hook, what, ctx.now, ctx.from, ctx.to, ctx.blocks_end, ctx.slots) end
    end
    local cache = {
      name = "c",
      checkpoints = function(r, from, to, ctx)
        show("checkpoints", { id = r.id, prompt = r.prompt_tokens, junction = r.junction, hit = r.hit,
                              user = r.user, prompt_end = r.prompt_end, session = r.session, from = from,
                              to = to }, ctx)
        return { r.junction, r.prompt_end }
      end,
      keep = function(node, ctx)
        show("keep", node, ctx)
        return node.tokens % 16 == 0 and node.tokens / 8 or true
      end,
      worth = function(nodes, n, values, ctx)
        for k = 1, n do
          show("worth", nodes[k], ctx)
          values[k] = nodes[k].id
        end
      end,
      demote = function(node, ctx)
        show("demote", node, ctx)
        return node.id % 2 == 0 and "host" or "drop"
      end,
    }
    local e = serve.caching_engine({ cache = cache, host_slots = 3 }, { num_slots = 7 })
    for id = 1, 14 do
      local session = id % 3 == 0 and "s" .. id % 2 or nil
      assert(e:submit(serve.request(id, { prompt_tokens = 18, max_tokens = 3, arrival = id, session = session,
                                          user = "u" .. id % 2, blocks = { 1, 2, id % 3 + 10, 100 + id } })))
      while not e:idle() do assert(e:complete(assert(e:step(id)), id)) end
    end
    note("failed", first_failure(e:failures()))
    note("calls", seen)
    e:close()
    check "nodes"
  end)
end)
