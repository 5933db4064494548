-- examples/nginx after a fault: policy files that are no policies, workers that die, pid files that are old.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"
local sse = require "spec.support.sse"

describe("examples/nginx after a fault #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  -- A path for a policy, and what removes all that was there.
  local function policy_path()
    local base = os.tmpname()
    finally(function() os.execute(("rm -rf %s %s.lua %s.lua.part"):format(base, base, base)) end)
    return base .. ".lua"
  end

  local function becomes(server, name, refused)
    return nginx.eventually(function()
      local metrics = server:metrics()
      return metrics["policy_info " .. name] == 1 and metrics.policy_refused == refused
    end)
  end

  local function serves(server)
    local answer = server:post { prompt = "alive", max_tokens = 6 }
    assert.are.equal(200, answer.status, answer.body)
    assert.are.equal(nginx.alone("alive", 6), sse.text(cjson.decode(answer.body)))
  end

  -- The worker that is there, and another after it.
  local function worker_of(server)
    return (nginx.run(("cat /proc/%d/task/*/children"):format(server:pid())):match "%d+")
  end
  local function kill_worker(server)
    local old = worker_of(server)
    os.execute("kill -9 " .. old)
    assert.is_truthy(nginx.eventually(function()
      local new = worker_of(server)
      return new and new ~= old and server:get("/healthz").status == 200
    end), server:log())
  end

  it("goes on with the last good policy in a worker that starts while the file is broken", function()
    local path = policy_path()
    nginx.write(path, 'return { order = "fcfs", name = "first" }')
    local server = nginx.start { SERVE_POLICY = path, SERVE_POLICY_SECONDS = 0.05 }
    nginx.write(path, 'return { order = "fcfs", name = "second" }')
    assert.is_true(becomes(server, "second", 0))
    nginx.write(path, "return {")
    assert.is_true(becomes(server, "second", 1))
    kill_worker(server)
    assert.is_true(becomes(server, "second", 1), server:log())
    serves(server)
    os.remove(path)
    kill_worker(server)
    assert.is_true(becomes(server, "second", 1))
    nginx.write(path, 'return { order = "fcfs", name = "third" }')
    assert.is_true(becomes(server, "third", 0))
    kill_worker(server)
    assert.is_true(becomes(server, "third", 0))
    serves(server)
  end)

  it("never waits for a policy file that is no file", function()
    local path = policy_path()
    nginx.write(path, 'return { order = "fcfs", name = "good" }')
    local server = nginx.start { SERVE_POLICY = path, SERVE_POLICY_SECONDS = 0.05 }
    for make, message in pairs {
      ["mkfifo"] = "is a FIFO, want a file", ["mkdir"] = "is a directory, want a file",
      ["ln -s /dev/zero"] = "is a device, want a file", ["ln -s /nowhere"] = "No such file",
      ["ln -s /proc/self/mem"] = "refused, the old one stays",
      ["truncate -s 2000000"] = "is larger than 1048576 bytes",
    } do
      os.execute(("rm -rf %s && %s %s"):format(path, make, path))
      assert.is_true(becomes(server, "good", 1), make)
      assert.is_truthy(nginx.eventually(function() return server:log():find(message, 1, true) end), make)
      serves(server)
      kill_worker(server)
      assert.is_true(becomes(server, "good", 1), make)
      os.execute("rm -rf " .. path)
      nginx.write(path, 'return { order = "fcfs", name = "good" }')
      assert.is_true(becomes(server, "good", 0), make)
    end
    os.execute(("rm -rf %s && mkfifo %s"):format(path, path))
    assert.matches("is a FIFO, want a file", nginx.refusal { SERVE_POLICY = path })
  end)

  it("tries again when an engine cannot be made", function()
    local model = os.tmpname()
    finally(function() os.remove(model) end)
    nginx.write(model, "good")
    local server = nginx.start { SERVE_MODEL = "spec.support.moody_model", SERVE_SEED = 1,
                                 SERVE_POLICY = "fcfs", MOODY = model }
    local function status() return server:get("/healthz").status end
    nginx.write(model, "bad")
    os.execute("kill -9 " .. worker_of(server))
    assert.is_truthy(nginx.eventually(function() return status() == 503 end))
    local answer = server:post { prompt = "a" }
    assert.are.same({ 503, "unavailable" }, { answer.status, cjson.decode(answer.body).error.code })
    nginx.write(model, "good")
    assert.is_truthy(nginx.eventually(function() return status() == 200 end))
    assert.are.equal(200, server:post({ prompt = "a" }).status)
  end)

  it("does not wait for clients who do not read when its model has failed", function()
    local socket = require "spec.support.socket"
    local server = nginx.start { SERVE_MODEL = "spec.support.cycle_model", SERVE_MAX_MODEL_LEN = 1e6,
                                 SERVE_NUM_SPECULATIVE_TOKENS = 0 }
    local body = cjson.encode { prompt = "a", max_tokens = 900000, stream = true, model = ("m"):rep(256) }
    local slow = socket.connect(server.port, 1024)
    slow:send(socket.request("POST", "/v1/completions", nil, body))
    -- By then more waits for it than the kernel holds.
    assert.is_truthy(nginx.eventually(function() return server:metrics().emitted_tokens_total > 9000 end, 60))
    local old = worker_of(server)
    assert.are.equal(500, server:post({ prompt = { 1 } }).status)
    assert.is_truthy(nginx.eventually(function()
      local new = worker_of(server)
      return new and new ~= old and server:get("/healthz").status == 200
    end), server:log())
    slow:close()
  end)

  it("is not stopped by hooks that yield to nginx: they fail like any other", function()
    local server = nginx.start { SERVE_MODEL = "spec.support.yielding_model" }
    local answer = server:post { prompt = "a", max_tokens = 11 }
    assert.are.equal("é 😀€!", sse.text(cjson.decode(answer.body)))
    local log = server:log()
    for _, hook in ipairs { "key", "admit", "on_emit" } do
      assert.matches(("trial of %s: idle true, %s: [^\n]*yield"):format(hook, hook), log)
    end
    server:check_idle()
  end)

  it("stops its own nginx alone", function()
    local server = nginx.start()
    local folder = server.folder
    local stranger = nginx.run "sleep 300 >/dev/null 2>&1 & echo $!":match "%d+"
    local pretender = nginx.run(([[bash -c "exec -a 'nginx: master process nginx -p $PWD/ -c %s/nginx.conf' ]]
      .. [[sleep 300" >/dev/null 2>&1 & echo $!]]):format(folder)):match "%d+"
    local good = nginx.run(("cat %s/nginx.pid"):format(folder)):match "%d+"
    for _, text in ipairs { stranger, pretender, "1", "0", "-1", "", "x", "99999999", worker_of(server), good
      .. " 1" } do
      nginx.write(folder .. "/nginx.pid", text .. "\n")
      local said, ok = nginx.run(("PORT=%d timeout 20 examples/nginx/serve stop 2>&1"):format(server.port))
      assert.is_false(ok, text)
      assert.matches("nothing runs on port " .. server.port, said)
    end
    for _, make in ipairs { "mkfifo", "mkdir", "ln -s /dev/zero", "ln -s /nowhere" } do
      os.execute(("cd %s && rm -rf nginx.pid && %s nginx.pid"):format(folder, make))
      local said, ok = nginx.run(("PORT=%d timeout 20 examples/nginx/serve stop 2>&1"):format(server.port))
      assert.is_false(ok, make)
      assert.are.equal(("nothing runs on port %d\n"):format(server.port), said, make)
    end
    os.execute(("rm -rf %s/nginx.pid"):format(folder))
    for _, pid in ipairs { stranger, pretender, good } do
      assert.is_true(select(2, nginx.run("kill -0 " .. pid)), "it stopped another process")
    end
    os.execute(("kill %s %s"):format(stranger, pretender))
    nginx.write(folder .. "/nginx.pid", good .. "\n")
    server:stop()
    -- It has ended; who reaps it may be late.
    local is_gone = "timeout 20 sh -c 'while kill -0 %s 2>/dev/null; do sleep 0.05; done'"
    assert.is_true(select(2, nginx.run(is_gone:format(good))))
    assert.matches("PORT = 0, want 1", (nginx.run "PORT=0 examples/nginx/serve start 2>&1"))
  end)
end)
