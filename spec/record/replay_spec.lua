-- examples/replay.lua: a short driver that counts tokens for itself.
local replay = require "examples.replay"
local fcfs = require "examples.fcfs"
local workload = require "gdnmeta.sim.workload"

local function run(requests, policy)
  return replay.replay(requests, policy or fcfs)
end

local function copies(n, request)
  local list = {}
  for i = 1, n do list[i] = request end
  return list
end

describe("the replay", function()
  it("feeds prompt + output - 1 tokens and emits output, one request by hand", function()
    local s = run { { arrival = 0, prompt = 3, output = 2 } }
    assert.are.same({ 1, 2, 4, 2, 3, 1 },
      { s.finished, s.steps, s.scheduled, s.emitted, s.prefill_tokens, s.decode_tokens })
    assert.are.equal(2, #s.build)
  end)

  it("cuts a prompt into chunks of the budget", function()
    local s = run { { arrival = 0, prompt = 2 * 8192 + 5, output = 1 } }
    assert.are.same({ 3, 8192, 2 * 8192 + 5, 0 }, { s.steps, s.tokens, s.prefill_tokens, s.decode_tokens })
  end)

  it("takes a last chunk of one token, and a prompt of one token, as prefills", function()
    local s = run { { arrival = 0, prompt = 8193, output = 1 }, { arrival = 0, prompt = 1, output = 1 } }
    assert.are.same({ 2, 8194 }, { s.steps, s.scheduled })
  end)

  it("runs 256 requests at once, the rest when a slot is free", function()
    local s = run(copies(300, { arrival = 0, prompt = 1, output = 2 }))
    assert.are.same({ 300, 256, 4 }, { s.finished, s.rows, s.steps })
  end)

  it("jumps over idle time", function()
    local s = run { { arrival = 5, prompt = 1, output = 1 }, { arrival = 1e6, prompt = 1, output = 1 } }
    assert.are.equal(2, s.steps)
    assert.are.equal(1e6 + 0.02, s.virtual)
  end)

  it("pads steps of decodes alone to a captured size, and no others", function()
    local s = run(copies(3, { arrival = 0, prompt = 10, output = 3 })) -- a step of prompts, two of 3 decodes
    assert.are.same({ 8, 2 }, { s.padded, s.padding })
    s = run(copies(9, { arrival = 0, prompt = 1, output = 2 }))
    assert.are.same({ 16, 7 }, { s.padded, s.padding })
    s = run(copies(250, { arrival = 0, prompt = 1, output = 2 }))
    assert.are.same({ 256, 6 }, { s.padded, s.padding })
  end)

  it("conserves the tokens of a generated workload", function()
    local requests = workload.generate { seed = 3, requests = 120, rate = 40, output_max = 60 }
    local s = run(requests)
    local scheduled, emitted = 0, 0
    for _, q in ipairs(requests) do
      scheduled, emitted = scheduled + q.prompt + q.output - 1, emitted + q.output
    end
    assert.are.same({ 120, scheduled, emitted }, { s.finished, s.scheduled, s.emitted })
    assert.are.equal(scheduled, s.prefill_tokens + s.decode_tokens)
  end)

  it("reports all of it as a table", function()
    local s = run { { arrival = 0, prompt = 9000, output = 3 }, { arrival = 0, prompt = 1, output = 3 } }
    s.build, s.seconds = { 1000, 3000, 2000, 4000 }, 0.002
    assert.are.equal(table.concat({
      "requests         2 finished, 0 s of virtual time",
      "steps            4",
      "prefill tokens   9,001",
      "decode tokens    4",
      "scheduled        9,005 = sum of prompt + output - 1",
      "emitted          6 = sum of output",
      "padding waste    0.00 % of the tokens of decode-only steps (0 of 4)",
      "largest batch    2 rows, 8,192 tokens",
      "build time       p50 2.00 us, p99 4.00 us",
      "steps a second   2,000",
    }, "\n"), replay.report(s))
  end)
end)

describe("a policy that is wrong is found out:", function()
  -- fcfs with one of its methods wrapped.
  local function broken(method, wrapper)
    local policy = setmetatable({}, { __index = fcfs })
    policy.__index = policy
    policy.new = function(builder) return setmetatable(fcfs.new(builder), policy) end
    policy[method] = wrapper
    return policy
  end
  local REQUESTS = { { arrival = 0, prompt = 100, output = 5 }, { arrival = 0, prompt = 50, output = 2 } }

  local cases = {
    { "it says more than it pushed", "step 1: 150 tokens in the metadata, the policy scheduled 151",
      broken("schedule", function(self, batch)
        local running, n = fcfs.schedule(self, batch)
        running[1].take = running[1].take + 1
        return running, n
      end) },
    { "it names fewer rows than it pushed", "step 1: 150 tokens in the metadata, the policy scheduled 100",
      broken("schedule", function(self, batch)
        local running, n = fcfs.schedule(self, batch)
        return running, n - 1
      end) },
    { "it feeds a token too many", "request 2: 52 tokens scheduled, want 51",
      broken("schedule", function(self, batch)
        local more = { push = function(_, row, take, seq, ...) batch:push(row, take + 1, seq + 1, ...) end }
        local running, n = fcfs.schedule(self, more)
        for i = 1, n do running[i].take = running[i].take + 1 end
        return running, n
      end) },
    { "it pushes no token", "step 2: rows[0].query_len = 0, want >= 1",
      broken("submit", function(self, request)
        if request.id == 1 then request.prompt = request.prompt - 1 end
        fcfs.submit(self, request)
      end) },
    { "it goes on after the end", "request 2: 3 tokens emitted, want 2",
      broken("submit", function(self, request)
        if request.id == 2 then request.output = 9 end
        fcfs.submit(self, request)
      end) },
    { "it stops a request early", "the policy runs no request, and 1 wait",
      broken("submit", function(self, request)
        if request.id == 2 then request.output = 1 end
        fcfs.submit(self, request)
      end) },
    { "it loses a request", "the policy runs no request, and 1 wait",
      broken("submit", function(self, request)
        if request.id == 1 then fcfs.submit(self, request) end
      end) },
    { "it pushes another's table row", "step 1: row 0 has slot 2, the request owns 1",
      broken("schedule", function(self, batch)
        local crossed = { push = function(_, row, take, seq, done)
          batch:push(1 - row, take, seq, done)
        end }
        return fcfs.schedule(self, crossed)
      end) },
    { "it counts two rows as one", "step 1: 2 rows in the metadata, the policy has 1",
      broken("schedule", function(self, batch)
        local running = fcfs.schedule(self, batch)
        running[1].take = running[1].take + running[2].take
        return running, 1
      end) },
    { "it shares a slot", "step 1: rows[1] group 0 writes block 1, want one that rows[0] does not write",
      broken("schedule", function(self, batch)
        self.free[#self.free - 1] = self.free[#self.free]
        return fcfs.schedule(self, batch)
      end) },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      local ok, err = pcall(run, REQUESTS, case[3])
      assert.is_false(ok)
      assert.are.equal(case[2], err:sub(1, #case[2]), err)
    end)
  end
end)

it("a driver that loses count is found out too", function()
  local function tampered(field)
    local ok, err = pcall(replay.replay, { { arrival = 0, prompt = 100, output = 5 } }, fcfs,
      function(s) s[field] = s[field] - 1 end)
    assert.is_false(ok)
    return err
  end
  assert.are.equal("99 tokens scheduled, the workload has 104", tampered "prefill_tokens")
  assert.are.equal("0 tokens emitted, the workload has 5", tampered "emitted")
end)

describe("the policy", function()
  -- Rows as the policy pushes them: query_len, seq_len, drafts, accepted, prompt_done, table_row.
  local function schedule(policy)
    local pushed = {}
    local running, n = policy:schedule { push = function(_, ...) pushed[#pushed + 1] = { ... } end }
    for i = 1, n do -- as the driver does
      local r = running[i]
      r.computed = r.computed + r.take
      if r.computed >= r.prompt then r.emitted = r.emitted + 1 end
    end
    return pushed
  end

  it("pushes decodes, the prompt under way, then first chunks", function()
    local tables, builder = {}, {}
    function builder.set_blocks(_, group, row, blocks) tables[row] = { group, blocks } end
    local policy = fcfs.new(builder)
    for id, prompt in ipairs { 4, 9000, 7000, 5 } do
      policy:submit { id = id, prompt = prompt, output = 3, computed = 0, emitted = 0 }
    end
    assert.are.same({ { 0, 4, 4, false }, { 1, 8188, 8188, false } }, schedule(policy))
    assert.are.same({ { 0, 1, 5, true }, { 1, 812, 9000, false },
                      { 2, 7000, 7000, false }, { 3, 5, 5, false } }, schedule(policy))
    assert.are.same({ { 0, 1, 6, true }, { 1, 1, 9001, true }, { 2, 1, 7001, true },
                      { 3, 1, 6, true } }, schedule(policy))
    assert.are.same({ [0] = { 0, { 1 } }, { 0, { 2 } }, { 0, { 3 } }, { 0, { 4 } } }, tables)
  end)
end)

describe("make demo", function()
  -- As make starts it, less the checker that may watch this process.
  local function demo(path)
    local pipe = assert(io.popen("env -u LD_PRELOAD -u GDNMETA_LIB "
      .. "LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' LUA_CPATH='./build/?.so;;' "
      .. "luajit examples/replay.lua " .. path .. " 2>&1; echo rc $?"))
    local text = pipe:read "*a"
    pipe:close()
    return text
  end

  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function write(text)
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
  end

  it("replays a recorded workload, with progress and a table", function()
    write "arrival_s,prompt_tokens,output_tokens\n0,9000,3\n0.5,20,1\n"
    local text = demo(path)
    assert.matches("2 of 2 requests, %d+ steps\n", text)
    assert.matches("scheduled        9,022 = sum of prompt + output - 1\n", text, 1, true)
    assert.matches("\nrc 0\n$", text)
  end)

  it("names a bad line and fails", function()
    write "arrival_s,prompt_tokens,output_tokens\n0,9000,-3\n"
    local message = path .. ":2: output_tokens = -3, want an integer in 1 .. 1073741823"
    assert.are.equal("replay: " .. message .. "\nrc 1\n", demo(path))
  end)
end)
