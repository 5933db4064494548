-- Whole pages of metrics, against spec/goldens/texts: every family with its help and every bound, of an
-- engine that has all there is and of one that has as little as can be. And the memory that they take.
local gdn = require "gdnmeta"
local ffi = require "ffi"
local golden = require "spec.support.golden"
local serve = require "spec.support.run_engine"

local function clock()
  local ticks = 0
  return function()
    ticks = ticks + 1
    return ticks * ticks / 2 ^ 18
  end
end

-- Ids of the blocks of a prompt. Prompts of even ids begin alike, and those of odd ids.
local function blocks_of(id, prompt)
  local list = {}
  for k = 1, math.floor(prompt / 4) do list[k] = 100 * (id % 2) + k end
  list[#list] = 1000 + id
  return list
end

-- Three classes where two have series of their own: some of each end, are cancelled, rejected and refused.
local function play(engine)
  local now = 0
  for id = 1, 12 do
    local prompt, class = 7 + 5 * id, ({ "a", "b", "c" })[id % 3 + 1]
    assert(engine:submit { id = id, prompt_tokens = prompt, max_tokens = id % 4 + 1, arrival = now - id / 64,
                           class = class, blocks = blocks_of(id, prompt) })
    assert(not engine:submit { id = id, prompt_tokens = 3, max_tokens = 1, class = "b" })
    for _ = 1, 2 do
      local step = assert(engine:step(now))
      now = now + 0.003 * id
      assert(engine:complete(step, now))
      if step.num_rows > 0 and id % 5 == 0 then engine:cancel(id) end
    end
  end
  while not engine:idle() do
    local step = assert(engine:step(now))
    now = now + 40
    assert(engine:complete(step, now))
  end
end

describe("A page of metrics", function()
  it("counts failures of the cache's hooks with the policy's, as its help says", function()
    local engine = serve.caching_engine { cache = { checkpoints = function() error "none" end } }
    local metrics = assert(gdn.metrics(engine))
    assert(engine:submit(serve.request(1, { blocks = { 1, 2 } })))
    assert(engine:step(0))
    assert.are.equal(1, #engine:failures())
    local help = "# HELP gdnmeta_policy_failures_total Failures of hooks, the policy's and the cache's.\n"
    assert.truthy(metrics:text():find(help, 1, true))
    assert.truthy(metrics:text():find("\ngdnmeta_policy_failures_total 1\n", 1, true))
    engine:close()
  end)

  it("has every family of an engine that has everything", function()
    local policy = { order = "fcfs", admit = function(r) return r.id ~= 8 or nil, "no eights" end }
    local engine = serve.engine(policy, { hash_block_size = 4, max_model_len = 200, kv_tokens = 2048,
                                          stopwatch = clock() },
      { max_blocks_per_row = 2, num_slots = 12, max_num_seqs = 3 })
    local metrics = assert(gdn.metrics(engine, { classes = 2, labels = { model = "m" } }))
    play(engine)
    golden("metrics-page", metrics:text())
    engine:close()
  end)

  it("leaves out what an engine does not have", function()
    local engine = serve.engine("fcfs")
    local metrics = assert(gdn.metrics(engine))
    golden("metrics-page-bare", metrics:text())
    engine:close()
  end)

  it("shows the series of other classes once anything went there", function()
    local cases = {
      function() end,
      function(engine) -- refused
        assert.is_nil((engine:submit { id = 1, prompt_tokens = 2 ^ 20, max_tokens = 1, class = "b" }))
      end,
      function(engine) assert(engine:submit { id = 1, prompt_tokens = 9, max_tokens = 1, class = "b" }) end,
    }
    for k, case in ipairs(cases) do
      local engine = serve.engine("fcfs")
      local metrics = assert(gdn.metrics(engine, { classes = 1 }))
      assert(engine:submit { id = 0, prompt_tokens = 9, max_tokens = 1, class = "a" })
      case(engine)
      local page = metrics:text()
      assert.are.equal(k > 1, page:find('class="other"', 1, true) ~= nil)
      assert.is_truthy(page:find('class="a"', 1, true))
      engine:close()
    end
  end)

  it("takes a number for each bound of each series, and no more", function()
    local engine = serve.engine("fcfs")
    local o = assert(gdn.metrics(engine, { classes = 3 })).observer
    local SERIES = { step_time = 1, policy_time = 1, build_time = 1, queue_time = 4, first_token = 4,
                     between = 4, request_time = 4 }
    for name, series in pairs(SERIES) do
      local h, of = o[name], name .. "'s "
      assert.are.equal(8 * series, ffi.sizeof(h.sums), of .. "sums")
      assert.are.equal(8 * series * (h.n + 1), ffi.sizeof(h.counts), of .. "counts")
      assert.are.equal(8 * h.n, ffi.sizeof(h.bounds), of .. "bounds")
    end
    for _, name in ipairs { "arrivals", "prompts", "tokens" } do
      assert.are.equal(32, ffi.sizeof(o[name]), name)
    end
    assert.are.equal(32 * 5, ffi.sizeof(o.outcomes))
    local capacity = engine.private.requests.capacity
    assert.are.same({ capacity, 4 * capacity, 8 * capacity, 4 * capacity },
      { o.capacity, ffi.sizeof(o.series), ffi.sizeof(o.last), ffi.sizeof(o.started) })
    engine:close()
  end)

  it("keeps its columns until the engine has longer ones, and what stands in them", function()
    local engine = serve.engine("fcfs", { max_num_seqs = 2 })
    local o, e = assert(gdn.metrics(engine)).observer, engine.private
    local function columns() return { o.series, o.last, o.started } end
    local grown, values = 0, {}
    for n = 1, 300 do
      local capacity, before = o.capacity, columns()
      assert(engine:submit { id = n, prompt_tokens = 4, max_tokens = 90, class = "c" .. n % 7 })
      if n <= 2 then assert(engine:complete(assert(engine:step(n)), n + 0.25)) end
      assert.are.equal(e.requests.capacity, o.capacity)
      if o.capacity == capacity then
        for k, column in ipairs(columns()) do assert.is_true(rawequal(before[k], column), n) end
      else
        grown = grown + 1
        for k, column in ipairs(columns()) do
          assert.are.equal(ffi.sizeof(before[k]) / capacity, ffi.sizeof(column) / o.capacity)
          for i = 0, capacity - 1 do assert.are.equal(values[k][i], column[i]) end
        end
      end
      for k, column in ipairs(columns()) do
        values[k] = {}
        for i = 0, o.capacity - 1 do values[k][i] = column[i] end
      end
    end
    assert.is_true(grown > 1 and values[2][e.requests.index[1]] > 0 and values[3][e.requests.index[2]] == 1)
    engine:close()
  end)
end)
