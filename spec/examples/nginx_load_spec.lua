-- examples/nginx under load and behind front.conf, on loopback: bounded in time by wrk and curl themselves.
local cjson = require "cjson"
local new_path = require "spec.support.new_path"
local nginx = require "spec.support.nginx"
local socket = require "spec.support.socket"
local sse = require "spec.support.sse"

local WRK = "build/nginx/root/usr/bin/wrk"

describe("examples/nginx #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  it("loses no slot and mixes no streams up under load, with clients that come and go", function()
    local cases, path, policy = {}, os.tmpname(), new_path ".lua"
    finally(function()
      os.remove(path)
      os.remove(policy)
    end)
    nginx.write(policy, "return { order = 'fair' }")
    local server = nginx.start {
      SERVE_MAX_WAITING = 12, SERVE_POLICY = policy, SERVE_POLICY_SECONDS = 0.05,
    }
    math.randomseed(tonumber(os.getenv "GDN_SEED") or os.time())
    for n = 1, 24 do
      local prompt, tokens = {}, math.random(1, 40)
      for k = 1, math.random(1, 300) do prompt[k] = math.random(0, 255) end
      local body = cjson.encode { prompt = prompt, max_tokens = tokens, stream = true, user = "u" .. n % 3 }
      for k = 1, #prompt do prompt[k] = string.char(prompt[k]) end
      cases[n] = ("{ body = %q, text = %q }"):format(body, nginx.alone(table.concat(prompt), tokens))
    end
    nginx.write(path, "return { " .. table.concat(cases, ",\n") .. " }")
    -- While wrk goes on, 40 clients leave after 20 to 400 ms, and the policy's file changes, now and then to
    -- one that does not load.
    local leavers = ([[policy=%s
    for n in $(seq 40); do
      curl -sN -m 0.$(printf %%02d $((2 + n %% 39))) -d '%s' %s/v1/completions >/dev/null 2>&1 &
      case $((n %% 3)) in 0) order="'fcfs'" ;; 1) order="'shortest_prefill'" ;; 2) order= ;; esac
      echo "return { order = $order }" >$policy.part && mv $policy.part $policy
      sleep 0.05
    done]]):format(policy, cjson.encode { prompt = "gone", max_tokens = 4000, stream = true }, server.url)
    local load = ("timeout 20 %s -t2 -c32 -d3s --timeout 10s -s %s %s/v1/completions -- %s 2>&1"):format(
      WRK, "spec/support/wrk.lua", server.url, path)
    local text = nginx.run(("{ %s; } & %s; wait"):format(leavers, load))
    local good, busy = tonumber(text:match "good%s+(%d+)"), tonumber(text:match "busy%s+(%d+)")
    assert.are.same({ "0", "0" }, { text:match "bad%s+(%d+)", text:match "errors%s+(%d+)" }, text)
    local metrics = server:check_idle()
    assert.is_true(good > 0 and metrics.requests_finished_total >= good, text)
    assert.is_true(busy > 0 and metrics["http_responses_total 429"] >= busy, text)
    assert.is_true(metrics.requests_cancelled_total > 0)
    -- The file changed 40 times; how many of these a busy server saw is chance.
    assert.is_true(metrics["policy_loads_total loaded"] > 1 and metrics["policy_loads_total refused"] > 0)
  end)

  it("keeps sessions with their engine behind front.conf, and moves those of one that is gone", function()
    local one, other = nginx.start(), nginx.start()
    local before = nginx.front(one, other)
    local function ask(session)
      local answer = before:post({ prompt = session, max_tokens = 6 }, "-H 'X-Session: " .. session .. "'")
      assert.are.equal(200, answer.status, answer.body)
      assert.are.equal(nginx.alone(session, 6), sse.text(cjson.decode(answer.body)))
      return tonumber(answer.headers["x-engine"]:match ":(%d+)$")
    end
    local engine_of, used = {}, {}
    for n = 1, 20 do
      local port = ask("session-" .. n)
      engine_of[n], used[port] = port, (used[port] or 0) + 1
    end
    assert.is_truthy(used[one.port] and used[other.port])
    for n = 1, 20 do assert.are.equal(engine_of[n], ask("session-" .. n)) end
    assert.are.same({ 2 * used[one.port], 2 * used[other.port] },
      { one:check_idle().requests_finished_total, other:check_idle().requests_finished_total })

    -- A stream is passed on as it comes, and its end by the client is noticed behind.
    local client = socket.connect(before.port)
    client:send(socket.request("POST", "/v1/completions", "X-Session: gone\r\n", cjson.encode {
      prompt = "gone", max_tokens = 4000, stream = true }))
    assert.is_true(client:read(("data: [^\n]*\n\n.*"):rep(6)))
    client:close()
    local stream = sse.read((client.text:match "\r\n\r\n(.*)$":gsub("%x+\r\n", ""):gsub("\r\n", "")))
    assert.is_false(stream.done)
    assert.are.equal(nginx.alone("gone", #stream.text), stream.text)
    local cancelled = one:check_idle().requests_cancelled_total + other:check_idle().requests_cancelled_total
    assert.are.equal(1, cancelled)

    other:stop()
    assert.are.equal(200, before:get("/healthz").status)
    for n = 1, 20 do assert.are.equal(one.port, ask("session-" .. n)) end
  end)

  it("renews its timer, and ends after its streams when it is told to stop", function()
    local server = nginx.start()
    local said = nginx.alone("slow", 1100)
    assert.are.equal(said, server:stream({ prompt = "slow", max_tokens = 1100 }).text)
    assert.is_true(server:metrics().steps_total > 1000) -- more than a timer runs
    local answer = server:begin { prompt = "slow", max_tokens = 1100, stream = true }
    assert.is_truthy(nginx.eventually(function() return server:metrics().requests_running == 1 end))
    server:stop()
    local stream = sse.read(answer())
    assert.are.same({ said, true }, { stream.text, stream.done })
  end)

  it("ends in any case, after worker_shutdown_timeout, when its streams do not", function()
    local file, path = assert(io.open "examples/nginx/nginx.conf"), os.tmpname()
    finally(function() os.remove(path) end)
    local conf, changed = file:read "*a":gsub("worker_shutdown_timeout 30s;", "worker_shutdown_timeout 1s;")
    file:close()
    assert.are.equal(1, changed)
    nginx.write(path, conf)
    -- Its answers take longer than this spec may.
    local server = nginx.start { CONF = path, SERVE_MAX_MODEL_LEN = 1e6 }
    for n = 1, 4 do
      os.execute(("curl -sN -m 60 -d '%s' %s/v1/completions >/dev/null 2>&1 &"):format(
        cjson.encode { prompt = "a", max_tokens = 9e5, stream = n % 2 == 0 }, server.url))
    end
    assert.is_truthy(nginx.eventually(function() return server:metrics().requests_running == 4 end))
    local _, ended = nginx.run(("PORT=%d timeout 60 examples/nginx/serve stop"):format(server.port))
    assert.is_true(ended, server:log())
    server:stop()
  end)
end)
