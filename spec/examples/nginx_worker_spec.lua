-- examples/nginx with its model in a worker's process, which dies, hangs and lies: nothing is lost, and no
-- client waits in vain.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"
local sse = require "spec.support.sse"

local WRK = "build/nginx/root/usr/bin/wrk"
local WORKER = "luajit examples/worker.lua"

describe("examples/nginx with a worker #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  local function start(settings)
    settings.SERVE_WORKER = settings.SERVE_WORKER or WORKER
    return nginx.start(settings)
  end

  local function children(pid) return (nginx.run(("cat /proc/%s/task/*/children"):format(pid))) end

  -- The model's process; nil: there is none now.
  local function model_of(server)
    local host = children(server:pid()):match "%d+"
    return host and children(host):match "%d+"
  end

  -- A signal to the process, and another one after it.
  local function replace(server, signal)
    local old = assert(model_of(server))
    os.execute(("kill -%s %s"):format(signal, old))
    assert.is_truthy(nginx.eventually(function()
      local new = model_of(server)
      return new and new ~= old and server:get("/healthz").status == 200
    end), server:log())
  end

  -- n streams that go on while body() runs: their results.
  local function streams(server, n, tokens, body)
    local answers, results = {}, {}
    for k = 1, n do
      answers[k] = server:begin { prompt = "stream " .. k, max_tokens = tokens, stream = true }
    end
    assert.is_truthy(nginx.eventually(function()
      return (server:metrics().emitted_tokens_total or 0) > 2 * n
    end))
    body()
    server:check_idle(40)
    for k, answer in ipairs(answers) do results[k] = sse.read(answer()) end
    return results
  end

  it("gives the model's process what PyTorch and CUDA read", function()
    local given = { PYTHONPATH = "some/site", NCCL_DEBUG = "WARN", SERVE_CAPTURE_DEBUG = "1",
                    TRITON_CACHE_DIR = "a b;c" }
    local server = start(given)
    local file = assert(io.open(("/proc/%s/environ"):format(model_of(server)), "rb"))
    local environ = "\0" .. file:read "*a"
    file:close()
    given.SERVE_WORKER, given.PYTHONPATH = nil, "examples/pytorch:" .. given.PYTHONPATH
    for name, value in pairs(given) do assert.matches(("\0%s=%s\0"):format(name, value), environ, 1, true) end
  end)

  it("says what the model says in this process, and goes on when it is killed or hangs", function()
    local server = start { SERVE_WORKER_DEADLINE = 3 } -- longer than a busy machine leaves a process waiting
    local answer = server:post { prompt = "Once upon", max_tokens = 40 }
    assert.are.equal(200, answer.status, answer.body)
    assert.are.equal(nginx.alone("Once upon", 40), sse.text(cjson.decode(answer.body)))
    for _, top_p in ipairs { 0, 1e-50 } do -- the likeliest token alone, and no fault of the worker's
      answer = server:post { prompt = "Once upon", max_tokens = 40, temperature = 1, top_p = top_p }
      assert.are.same({ 200, nginx.alone("Once upon", 40) }, { answer.status,
        sse.text(cjson.decode(answer.body)) })
    end
    local seeds = {} -- by what they say
    for _, seed in ipairs { 0, 5, -1, -5, -2 ^ 62, 2 ^ 53 } do
      answer = server:post { prompt = "Once upon", max_tokens = 40, temperature = 1, seed = seed }
      local text = sse.text(cjson.decode(answer.body))
      assert.is_nil(seeds[text], seed)
      seeds[text] = seed
    end
    local got = streams(server, 6, 600, function()
      replace(server, "KILL")
      replace(server, "STOP")
    end)
    for k, stream in ipairs(got) do
      assert.are.same({ nginx.alone("stream " .. k, 600), "length", true },
        { stream.text, stream.reason, stream.done })
    end
    assert.matches("made no progress", server:log())
    replace(server, "KILL") -- with nothing to do
    local metrics = server:check_idle()
    assert.are.same({ 1, 3, 15 }, { metrics.worker_up, metrics.worker_restarts_total,
      metrics.requests_finished_total })
    local again = server:post { prompt = "Once upon", max_tokens = 40 }
    assert.are.equal(nginx.alone("Once upon", 40), sse.text(cjson.decode(again.body)))
  end)

  it("fails what ran with 503 where that is wanted, and serves what waits", function()
    local server = start { SERVE_WORKER_LOSSES = 0, SERVE_MAX_NUM_SEQS = 2, SERVE_MAX_MODEL_LEN = 1e5 }
    local waits
    local got = streams(server, 2, 50000, function()
      waits = server:begin { prompt = "waits", max_tokens = 8 }
      assert.is_truthy(nginx.eventually(function() return server:metrics().requests_waiting == 1 end))
      replace(server, "KILL")
    end)
    for _, stream in ipairs(got) do
      assert.are.same({ "unavailable", "the worker that ran the request has died", false },
        { stream.failure.code, stream.failure.message, stream.done })
    end
    assert.are.equal(nginx.alone("waits", 8), sse.text(cjson.decode(waits())))
    assert.are.equal(1, server:metrics().requests_finished_total)
    assert.are.equal(2, server:check_idle().requests_cancelled_total)
  end)

  -- A worker that is faulty from its third step on, and so is the next one.
  for fault, why in pairs {
    exits = "ended", version = "version", checksum = "checksum", other_step = "a result of step",
    too_few_rows = "has 0 rows", says_too_much = "emitted%[0%] = 4", raises = "out of memory, says the model",
    closes = "closed its channel", hangs = "made no progress",
  } do
    it("does not run a request forever that a worker does not survive: " .. fault, function()
      local command = "env FAULT=%s AFTER=3 luajit spec/support/faulty_worker.lua"
      local server = start { SERVE_WORKER_LOSSES = 1, SERVE_WORKER_DEADLINE = fault == "hangs" and 0.4 or 20,
                             SERVE_WORKER = command:format(fault) }
      local answer = server:post { prompt = "poison", max_tokens = 30 }
      assert.are.equal(503, answer.status, answer.body)
      local function is_up() return server:get("/healthz").status == 200 end
      assert.is_truthy(nginx.eventually(is_up))
      local stream = server:stream { prompt = "poison", max_tokens = 30 }
      assert.are.equal("unavailable", stream.failure and stream.failure.code or cjson.decode(
        stream.answer.body).error.code)
      assert.matches(why, server:log())
      assert.is_truthy(nginx.eventually(is_up))
      local metrics = server:check_idle()
      assert.is_true(metrics.worker_restarts_total >= 4)
      assert.are.equal(200, server:post({ prompt = "a", max_tokens = 1 }).status)
    end)
  end

  it("tells why a worker does not start, and refuses requests meanwhile", function()
    for command, why in pairs {
      ["/no/such/worker"] = "No such file",
      ["env FAULT=exits_at_once luajit spec/support/faulty_worker.lua"] = "has ended",
      ["env FAULT=never_opens luajit spec/support/faulty_worker.lua"] = "made no progress",
    } do
      local server = nginx.start({ SERVE_WORKER = command, SERVE_WORKER_START = 0.3 }, "/healthz")
      assert.is_truthy(nginx.eventually(function()
        return server:get("/healthz").body:find(why, 1, true)
      end), server:log())
      local answer = server:post { prompt = "a" }
      assert.are.same({ 503, "unavailable" }, { answer.status, cjson.decode(answer.body).error.code })
      assert.are.equal(0, server:metrics().worker_up)
      server:stop()
    end
  end)

  it("loses nothing with 64 clients at once, clients that leave and workers that are killed", function()
    local server, cases, path = start { SERVE_MAX_WAITING = 200, SERVE_WORKER_LOSSES = 100 }, {}, os.tmpname()
    finally(function() os.remove(path) end)
    math.randomseed(tonumber(os.getenv "GDN_SEED") or os.time())
    for n = 1, 24 do
      local prompt = ("a prompt that many have "):rep(n % 4) .. n
      local tokens = math.random(30)
      cases[n] = ("{ body = %q, text = %q }"):format(cjson.encode { prompt = prompt, max_tokens = tokens,
        stream = true }, nginx.alone(prompt, tokens))
    end
    nginx.write(path, "return { " .. table.concat(cases, ",\n") .. " }")
    local host = children(server:pid()):match "%d+"
    local trouble = ([[for n in $(seq 30); do
      curl -sN -m 0.$((n %% 9 + 1)) -d '%s' %s/v1/completions >/dev/null 2>&1 &
      [ $((n %% 10)) -gt 0 ] || kill -9 $(cat /proc/%s/task/*/children)
      sleep 0.1
    done]]):format(cjson.encode { prompt = "gone", max_tokens = 4000, stream = true }, server.url, host)
    local load = ("timeout 60 %s -t2 -c64 -d5s --timeout 40s -s %s %s/v1/completions -- %s 2>&1"):format(
      WRK, "spec/support/wrk.lua", server.url, path)
    local text = nginx.run(("{ %s; } & %s; wait"):format(trouble, load))
    local bad = text:match "bad%s+(%d+)"
    local example = text:match "example%s+([^\n]*)" or ""
    -- While a worker starts, new requests are refused; nothing else may happen to one.
    assert.is_true(bad == "0" or example:find "^503 .*is being loaded" ~= nil, text)
    assert.is_true(tonumber(text:match "good%s+(%d+)") > 0, text)
    local metrics = server:check_idle(40)
    assert.is_true(metrics.worker_restarts_total >= 1 and metrics.requests_cancelled_total > 0)
  end)
end)
