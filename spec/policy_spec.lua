local gdn = require "gdnmeta"
local serve = require "spec.support.serve"

local SHIPPED = { "deadline", "decode_first", "fair", "fcfs", "priority", "shortest_prefill" }

-- A policy file that is gone after the spec.
local function with_file(source, body)
  local path = os.tmpname() .. ".lua"
  local file = assert(io.open(path, "wb"))
  file:write(source)
  file:close()
  local ok, problem = pcall(body, path)
  os.remove(path)
  os.remove((path:gsub("%.lua$", "")))
  if not ok then error(problem, 0) end
end

describe("gdnmeta.policy", function()
  it("knows the shipped ones, each of 10 to 40 lines without ffi", function()
    for _, name in ipairs(SHIPPED) do
      local policy = assert(gdn.policy(name))
      assert.are.equal(name, policy.name)
      assert.is_true(policy.trusted)
      local file = assert(io.open(package.searchpath("gdnmeta.policy." .. name, package.path)))
      local source = file:read "*a"
      file:close()
      local _, lines = source:gsub("\n", "\n")
      assert.is_true(lines <= 40, name .. " has " .. lines .. " lines")
      assert.is_nil(source:find "ffi")
    end
  end)

  it("loads anew each time, so that counters are not shared", function()
    assert.are_not.equal(gdn.policy("fair").on_emit, gdn.policy("fair").on_emit)
  end)

  it("says which names there are", function()
    local policy, message = gdn.policy "fcsf"
    assert.is_nil(policy)
    assert.are.equal('no policy "fcsf", want one of ' .. table.concat(SHIPPED, ", ")
                     .. ", or the path of a Lua file", message)
  end)

  it("takes a table, a function, and a policy as it is", function()
    local mine = gdn.policy { name = "mine", key = function(r) return r.prompt end }
    assert.are.equal("mine", mine.name)
    assert.is_false(mine.trusted)
    assert.are.equal(mine, gdn.policy(mine))
    local step = function() end
    assert.are.equal(step, gdn.policy(step).step)
    assert.is_true(gdn.policy({ chunk = function() end }, { trusted = true }).trusted)
    assert.is_true(gdn.policy({ order = "fcfs", chunk = 7 }).trusted)
  end)

  it("takes a file that returns a table or a function", function()
    with_file("return { key = function(r) return -r.arrival end }", function(path)
      local policy = assert(gdn.policy(path))
      assert.are.equal(path, policy.name)
      assert.is_false(policy.trusted)
    end)
    with_file("return function(view, plan) plan:fill() end", function(path)
      assert.is_function(assert(gdn.policy(path)).step)
    end)
  end)

  it("returns nil and the reason for a file that is no policy", function()
    local function problem(source)
      local message
      with_file(source, function(path)
        local policy
        policy, message = gdn.policy(path)
        assert.is_nil(policy)
        message = message:gsub("%S*lua_[^:]*%.lua", "FILE")
      end)
      return message
    end
    assert.are.equal("policy FILE is bytecode, want text", problem(string.dump(function() return {} end)))
    assert.matches("^policy FILE:1: ", problem("return {"))
    assert.matches("^policy FILE: FILE:1: broken", problem("error 'broken'"))
    assert.matches("^policy FILE: .*instruction budget spent", problem("while true do end"))
    assert.are.equal("policy FILE: returns a number, want a table or a function", problem("return 1"))
    assert.are.equal("policy FILE: unknown field kye", problem("return { kye = 1 }"))
    assert.are.equal("policy FILE: unknown field trusted", problem("return { trusted = true }"))
    assert.matches("No such file", select(2, gdn.policy "no/such/file.lua"))
  end)

  it("raises at the caller for a wrong table or option", function()
    local function raises(message, ...)
      local arguments = { ... }
      assert.has_error(function() gdn.policy(unpack(arguments)) end, message)
    end
    raises("gdnmeta.policy: key = 1, want a function", { key = 1 })
    raises('gdnmeta.policy: group = "team", want "user" or "class"', { group = "team" })
    raises("gdnmeta.policy: order and key are both given, want one", { order = "fcfs", key = print })
    raises("gdnmeta.policy: unknown option trust", "fcfs", { trust = true })
    raises("gdnmeta.policy: boolean, want a name, a path, a table or a function", true)
  end)
end)

describe("A policy file", function()
  it("sees no files, no ffi, no clock, nothing that catches errors, and no table of the host's", function()
    local hidden = { "io", "os", "ffi", "jit", "debug", "package", "require", "load", "loadstring",
                     "loadfile",
                     "dofile", "getfenv", "setfenv", "getmetatable", "rawset", "rawget", "pcall", "xpcall",
                     "coroutine", "collectgarbage", "print", "newproxy", "module" }
    local source = { "local seen = {}" }
    for _, name in ipairs(hidden) do
      source[#source + 1] = ("if %s ~= nil then error('%s is there', 0) end"):format(name, name)
    end
    source[#source + 1] = "if math.random or string.dump then error('math.random is there', 0) end"
    source[#source + 1] = "string.rep, math.huge, table.sort = nil, 0, nil"
    source[#source + 1] = "leak = 1 return { key = function(r) return r.arrival end }"
    with_file(table.concat(source, "\n"), function(path)
      assert(gdn.policy(path))
      assert.is_function(string.rep)
      assert.are.equal(1 / 0, math.huge)
      assert.is_function(table.sort)
      assert.is_nil(rawget(_G, "leak"))
    end)
  end)

  it("cannot write to what it is shown", function()
    local writes = { "r.known = 1", "ctx.now = 0", "ctx.cost.predict = 1", "setmetatable(r, {})",
                     "setmetatable(ctx, {})" }
    for _, write in ipairs(writes) do
      with_file(("return { key = function(r, ctx) %s return 0 end }"):format(write), function(path)
        local engine = serve.engine(path)
        engine:submit { id = 1, prompt_tokens = 5, max_tokens = 1 }
        local message = (engine:failures()[1] or {}).message
        assert.is_truthy(message, write .. " went through")
        assert.is_truthy(message:find("read-only", 1, true) or message:find("protected metatable", 1, true),
                         message)
        engine:close()
      end)
    end
  end)
end)

describe("What a hook is shown", function()
  it("is the request and the step as they are", function()
    local seen
    local engine = serve.engine({ chunk = function(r, want, ctx)
      seen = seen or { r.id, r.user, r.class, r.prompt, r.known, r.computed, r.want, r.is_decode, r.age,
                       r.emitted,
                       r.cached_prefix, r.slots, r.weight, r.priority, r.deadline, r.max_tokens, want }
      seen.ctx = { ctx.now, ctx.step, ctx.budget_left, ctx.prefill_taken, ctx.seqs_left, ctx.running,
                   ctx.waiting,
                   ctx.pad(5), ctx.block, ctx.k, ctx.rekey_limit, ctx.aging, ctx.kv_left }
      return want
    end }, { kv_tokens = 4096 })
    engine:submit { id = "a", prompt_tokens = 9, max_tokens = 3, arrival = 2, user = "ada", class = "chat",
                    weight = 2, priority = 7, ttft = 4 }
    engine:step(5)
    assert.are.same({ "a", "ada", "chat", 9, 9, 0, 9, false, 3, 0, 0, 0, 2, 7, 6, 3, 9,
                      ctx = { 5, 1, 64, 0, 4, 0, 1, 5, 1, 0, 128, 1000, 256 } }, seen)
    engine:close()
  end)

  it("offers the same random numbers in every run", function()
    local function draws(seed)
      local list = {}
      local engine = serve.engine({ key = function(_, ctx)
        list[#list + 1] = ctx.random()
        return 0
      end, static = true }, { seed = seed })
      for id = 1, 50 do engine:submit { id = id, prompt_tokens = 1, max_tokens = 1 } end
      engine:close()
      return list
    end
    local list = draws(1)
    assert.are.same(list, draws(1))
    assert.are_not.same(list, draws(2))
    local sum = 0
    for _, x in ipairs(list) do
      assert.is_true(x >= 0 and x < 1)
      sum = sum + x
    end
    assert.is_true(sum > 15 and sum < 35)
  end)
end)

-- Admissions by id, in order.
local function admissions(policy, requests, options)
  local order = {}
  local engine = serve.engine(policy, options, { max_num_seqs = 1, max_num_batched_tokens = 64 })
  for _, request in ipairs(requests) do assert(engine:submit(request)) end
  local seen = serve.run(engine)
  for id in pairs(seen.admitted) do order[#order + 1] = id end
  table.sort(order, function(a, b) return seen.admitted[a] < seen.admitted[b] end)
  engine:close()
  return order, seen
end

local function request(id, fields)
  local r = { id = id, prompt_tokens = 10, max_tokens = 2, arrival = 0 }
  for name, value in pairs(fields) do r[name] = value end
  return r
end

describe("fcfs", function()
  it("serves one queue of constant service in closed form", function()
    local requests, finish = {}, 0
    for id = 1, 20 do requests[id] = request(id, { arrival = id * 0.5, max_tokens = 3 }) end
    local _, seen = admissions("fcfs", requests)
    for id = 1, 20 do
      finish = finish + 3
      assert.are.equal(finish, seen.finished[id])
    end
  end)
end)

describe("priority", function()
  it("takes the smallest number first, then by arrival", function()
    local order = admissions("priority", { request("a", { priority = 2 }),
                                           request("b", { priority = 1, arrival = 1 }),
                                           request("c", { priority = 1 }),
                                             request("d", { priority = 0, arrival = 3 }) })
    assert.are.same({ "d", "c", "b", "a" }, order)
  end)

  it("evicts whoever matters least", function()
    local engine = serve.engine("priority", { kv_tokens = 64, kv_block_size = 16 })
    engine:submit(request("low", { priority = 9, prompt_tokens = 16, max_tokens = 30 }))
    engine:submit(request("high", { priority = 1, prompt_tokens = 16, max_tokens = 30, arrival = 1 }))
    local evicted = {}
    for now = 1, 20 do
      local step = engine:step(now)
      for _, id in ipairs(step.preempted) do evicted[#evicted + 1] = id end
      engine:complete(step, nil, now)
    end
    assert.are.same({ "low" }, evicted)
    engine:close()
  end)
end)

describe("shortest_prefill", function()
  it("takes the shortest prompt first", function()
    local order = admissions("shortest_prefill", { request("long", { prompt_tokens = 60 }),
                                                   request("short", { prompt_tokens = 5 }),
                                                   request("middle", { prompt_tokens = 30 }) })
    assert.are.same({ "short", "middle", "long" }, order)
  end)

  it("lets nobody starve: waiting makes a prompt shorter", function()
    local aging = 2 -- tokens a second: 60 tokens are worth 25 s of waiting against prompts of 10
    local engine = serve.engine("shortest_prefill", { aging = aging }, { max_num_seqs = 1 })
    engine:submit(request("long", { prompt_tokens = 60, max_tokens = 1 }))
    local seen = serve.run(engine, function(now)
      if now < 60 then engine:submit(request(now, { arrival = now, max_tokens = 1 })) end
    end)
    local due = (60 - 10) / aging
    assert.is_true(seen.admitted.long >= due and seen.admitted.long <= due + 2, "admitted at "
                   .. seen.admitted.long)
    engine:close()
  end)

  it("would let a long prompt starve without ageing", function()
    local engine = serve.engine("shortest_prefill", { aging = 0 }, { max_num_seqs = 1 })
    engine:submit(request("long", { prompt_tokens = 60, max_tokens = 1 }))
    local seen = serve.run(engine, function(now)
      if now < 60 then engine:submit(request(now, { arrival = now, max_tokens = 1 })) end
    end)
    assert.is_true(seen.admitted.long >= 60)
    engine:close()
  end)
end)

describe("fair", function()
  -- Service by user (prompt 1, output 2 a token) while everybody always has something waiting.
  local function served(users, steps, late)
    local engine = serve.engine("fair", nil, { max_num_seqs = 2 })
    local next_id, user_of = 0, {}
    local function top_up(name)
      local user = users[name]
      next_id = next_id + 1
      user_of[next_id] = name
      engine:submit { id = next_id, prompt_tokens = user.prompt, max_tokens = user.output, user = name,
                      weight = user.weight, arrival = next_id }
    end
    local total, names = {}, {}
    for name in pairs(users) do names[#names + 1] = name end
    table.sort(names)
    for now = 0, steps do
      for _, name in ipairs(names) do
        if now == 0 and name ~= late then for _ = 1, 4 do top_up(name) end end
        if name == late and now == steps / 2 then for _ = 1, 4 do top_up(name) end end
      end
      local step = engine:step(now)
      for _, id in ipairs(step.admitted) do
        local name = user_of[id]
        total[name] = (total[name] or 0) + users[name].prompt
        top_up(name)
      end
      engine:complete(step, nil, now)
      for row = 0, step.num_rows - 1 do
        local name = user_of[step:id(row)]
        total[name] = total[name] + 2 * step.emitted[row]
      end
    end
    assert.are.equal(0, #engine:failures())
    engine:close()
    return total
  end

  it("serves users alike to within one request, however many each of them sends", function()
    local users = { ada = { prompt = 20, output = 4, weight = 1 },
                    bob = { prompt = 7, output = 9, weight = 1 } }
    local total = served(users, 1000)
    local largest = math.max(20 + 2 * 4, 7 + 2 * 9)
    assert.is_true(math.abs(total.ada - total.bob) <= largest,
                   ("ada %d, bob %d"):format(total.ada, total.bob))
    assert.is_true(total.ada > 1000)
  end)

  it("serves by weight", function()
    local users = { ada = { prompt = 10, output = 5, weight = 3 },
                    bob = { prompt = 10, output = 5, weight = 1 } }
    local total = served(users, 1000)
    assert.is_true(math.abs(total.ada / 3 - total.bob) <= 20, ("ada %d, bob %d"):format(total.ada, total.bob))
  end)

  it("gives no credit for a pause", function()
    local users = { ada = { prompt = 10, output = 5, weight = 1 },
                    bob = { prompt = 10, output = 5, weight = 1 } }
    local total = served(users, 1000, "bob")
    assert.is_true(total.bob >= total.ada / 3 - 40 and total.bob <= total.ada / 3 + 40,
                   ("ada %d, bob %d"):format(total.ada, total.bob))
  end)

  it("is first come, first served within a user", function()
    local requests = {}
    for id = 1, 9 do requests[id] = request(id, { user = id % 2 == 0 and "even" or "odd", arrival = id }) end
    local order = admissions("fair", requests)
    local last = { [0] = 0, [1] = 0 }
    for _, id in ipairs(order) do
      assert.is_true(id > last[id % 2])
      last[id % 2] = id
    end
    assert.are.equal(9, #order)
  end)
end)

describe("deadline", function()
  it("takes the earliest deadline first", function()
    local order = admissions("deadline", { request("slow", { ttft = 100 }),
                                           request("fast", { ttft = 1, arrival = 5 }),
                                           request("named", { deadline = 2 }) })
    assert.are.same({ "named", "fast", "slow" }, order)
  end)

  it("gives a prompt what fits before the first running decode is late", function()
    local cost = { tokens_within = function(seconds) return seconds * 100 end }
    local engine = serve.engine("deadline", { cost = cost, tpot = 2 }, { max_num_batched_tokens = 1024 })
    engine:submit(request("chat", { prompt_tokens = 3, max_tokens = 50 }))
    engine:complete(engine:step(0), nil, 0.5)
    engine:submit(request("essay", { prompt_tokens = 900 }))
    local step = engine:step(1) -- the next token of chat is due at 0.5 + 2
    assert.are.same({ 1, 150 }, { step.query_len[0], step.query_len[1] })
    engine:close()
  end)
end)

describe("decode_first", function()
  it("never holds up a decode for a prompt, and keeps prompts to 512 tokens a step", function()
    local engine = serve.engine("decode_first", nil, { max_num_batched_tokens = 8192 })
    engine:submit(request("chat", { prompt_tokens = 3, max_tokens = 20 }))
    engine:complete(engine:step(0), nil, 0)
    for id = 1, 3 do engine:submit(request(id, { prompt_tokens = 2000 })) end
    for now = 1, 10 do
      local step = engine:step(now)
      assert.are.equal("chat", step:id(0))
      assert.are.equal(512, step.prefill_tokens)
      engine:complete(step, nil, now)
    end
    engine:close()
  end)

  it("takes a whole block where states are kept by the block", function()
    local engine = serve.engine("decode_first", { max_model_len = 8000 }, {
      max_num_batched_tokens = 2048, mamba_cache_mode = "align", mamba_block_size = 600,
        max_blocks_per_row = 16,
      num_slots = 30 })
    engine:submit(request("a", { prompt_tokens = 5000 }))
    local step = engine:step(0)
    assert.is_false(step.fallback)
    assert.are.equal(600, step.num_tokens)
    engine:close()
  end)
end)

describe("A level 0 policy", function()
  it("takes its order, chunk, drafts and victim from names and numbers", function()
    local engine = serve.engine({ order = "shortest_prefill", chunk = 4, drafts = 1,
                                  victim = "least_computed" }, nil,
                                { num_speculative_tokens = 3 })
    engine:submit(request("long", { prompt_tokens = 60 }))
    engine:submit(request("short", { prompt_tokens = 5, max_tokens = 9 }))
    local step = engine:step(0)
    assert.are.same({ "short", "long" }, step.admitted)
    assert.are.same({ 4, 4 }, { step.query_len[0], step.query_len[1] })
    engine:complete(step, nil, 0)
    engine:complete(engine:step(1), nil, 1)
    step = engine:step(2)
    assert.are.equal("short", step:id(0))
    assert.are.same({ 2, 1 }, { step.query_len[0], step.drafts[0] })
    engine:close()
  end)

  it("evicts by what was computed", function()
    for kind, loser in pairs { least_computed = "b", most_computed = "a", last = "c" } do
      local engine = serve.engine({ victim = kind }, { kv_tokens = 96, kv_block_size = 16 },
                                  { max_num_batched_tokens = 128 })
      for _, id in ipairs { "a", "b", "c" } do
        local prompt = ({ a = 32, b = 16, c = 24 })[id]
        engine:submit(request(id, { prompt_tokens = prompt, max_tokens = 40, arrival = id:byte() }))
      end
      local evicted
      for now = 1, 12 do
        local step = engine:step(now)
        evicted = evicted or step.preempted[1]
        engine:complete(step, nil, now)
      end
      assert.are.equal(loser, evicted, kind)
      engine:close()
    end
  end)
end)

describe("A level 2 policy", function()
  it("takes, admits, skips, preempts and rejects, and hears why not", function()
    local log = {}
    local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
    local function answer(granted, why) return granted and tostring(granted) or "nil " .. why end
    local engine = serve.engine(function(view, plan)
      local waiting = {}
      for i in view:waiting() do waiting[view:request(i).id] = i end
      note("admit a", answer(plan:admit(waiting.a)))
      note("again", answer(plan:admit(waiting.a)))
      note("take b", answer(plan:take(waiting.b)))
      note("admit b 20", answer(plan:admit(waiting.b, 20)))
      note("reject c", answer(plan:reject(waiting.c, "too late")))
      note("admit d", answer(plan:admit(waiting.d)))
      note("admit e", answer(plan:admit(waiting.e)))
      note("room", tostring((plan:room())))
    end)
    for _, id in ipairs { "a", "b", "c", "d", "e" } do engine:submit(request(id, { prompt_tokens = 30 })) end
    local step = engine:step(1)
    assert.are.equal(0, #engine:failures(), engine:failures()[1] and engine:failures()[1].message)
    assert.are.same({ "admit a 30", "again nil taken", "take b nil waiting", "admit b 20 20", "reject c 0",
                      "admit d 14", "admit e nil budget", "room 0" }, log)
    assert.are.same({ "a", "b", "d" }, step.admitted)
    assert.are.same({ "c" }, step.rejected)
    assert.are.equal("too late", step.reasons.c)
    engine:complete(step, nil, 1)

    assert(engine:set_policy(function(view, plan)
      local skipped = true
      for i in view:running() do
        if skipped then plan:skip(i) else plan:preempt(i) end
        skipped = false
      end
      plan:fill()
    end))
    step = engine:step(2)
    assert.are.same({ "b", "d" }, step.preempted)
    assert.are.equal(0, step.num_rows)
    assert.is_false(step.fallback)
    assert.are.equal("running", engine:request("a").state)
    engine:close()
  end)

  it("gets the built-in policy's choice from fill", function()
    local function rows(policy)
      local engine = serve.engine(policy)
      for id = 1, 5 do engine:submit(request(id, { prompt_tokens = 20 })) end
      local step, list = engine:step(1), {}
      for row = 0, step.num_rows - 1 do list[row + 1] = { step:id(row), step.query_len[row] } end
      engine:close()
      return list
    end
    assert.are.same(rows "fcfs", rows(function(_, plan) plan:fill() end))
  end)
end)

describe("More waiting requests than are keyed anew in a step", function()
  it("are served in the order of their keys all the same, once each had its turn", function()
    local keys = {}
    local engine = serve.engine({ key = function(r) return keys[r.id] end }, { rekey_limit = 4 },
                                { max_num_seqs = 1 })
    for id = 1, 40 do
      keys[id] = id
      engine:submit(request(id, { max_tokens = 12 }))
    end
    engine:complete(engine:step(0), nil, 0) -- admits 1
    for id = 2, 40 do keys[id] = -id end -- everything turns round while it waits
    for now = 1, 11 do engine:complete(engine:step(now), nil, now) end
    local order = {}
    local seen = serve.run(engine)
    for id in pairs(seen.admitted) do order[#order + 1] = id end
    table.sort(order, function(a, b) return seen.admitted[a] < seen.admitted[b] end)
    local sorted = 0
    for n = 2, #order do if order[n] < order[n - 1] then sorted = sorted + 1 end end
    assert.is_true(sorted >= 30, table.concat(order, " "))
    engine:close()
  end)
end)
