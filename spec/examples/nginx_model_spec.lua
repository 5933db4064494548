-- examples/nginx with a hybrid model in PyTorch behind it, of random weights, and the openai client before
-- it.
-- Left out, loudly, where there is no Python with PyTorch: make test-model makes one, or GDN_TORCH names it.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"

local CLIENT = "env -u LD_PRELOAD -u PYTHONPATH PYTHONDONTWRITEBYTECODE=1 timeout 200 build/venv/bin/python"
local LOADS = 150 -- seconds that two Pythons may take to import what they need

-- A model's folder, and the Python to run it; nil and why not.
local function model()
  if nginx.absent() then return nil, nginx.absent() end
  local python, ok = nginx.run "env -u LD_PRELOAD examples/nginx/serve python 2>&1"
  if not ok then return nil, python:gsub("%s+$", "") end
  local said
  said, ok = nginx.run "env -u LD_PRELOAD scripts/clients 2>&1"
  if not ok then return nil, said:gsub("%s+$", "") end
  local folder
  folder, ok = nginx.run(("env -u LD_PRELOAD OMP_NUM_THREADS=1 PYTHONPATH=examples/pytorch timeout 150 %s -c "
    .. "'from model import random_model; print(random_model.folder(\"tiny\", \"build/models\"))' 2>/dev/null")
    :format(python:gsub("%s+$", "")))
  return ok and folder:match "[^\n]+", not ok and "a random model could not be made" or nil
end

local tried, folder, why = false, nil, nil
local function left_out()
  if not tried then
    tried = true
    folder, why = model()
  end
  if folder then return false end
  io.stderr:write("\nLEFT OUT, a model in PyTorch behind examples/nginx: ", why, "\n")
  pending(why)
  return true
end

local function start(settings)
  settings.OMP_NUM_THREADS, settings.SERVE_KV_BLOCKS = 1, settings.SERVE_KV_BLOCKS or 512
  return nginx.start(settings, "/healthz", 500)
end

local function is_up(server)
  return nginx.eventually(function() return server:get("/healthz").status == 200 end, LOADS)
end

local function children(pid) return (nginx.run(("cat /proc/%s/task/*/children"):format(pid))) end

-- The worker's process is the one whose command line names it.
local function worker_of(server)
  for pid in children(children(server:pid()):match "%d+"):gmatch "%d+" do
    if nginx.run(("cat /proc/%s/cmdline"):format(pid)):find("worker.py", 1, true) then return pid end
  end
end

-- What check_served.py says of a server, and whether it was content.
local function asked(server, options)
  return nginx.run(("env -u LD_PRELOAD PYTHONDONTWRITEBYTECODE=1 timeout 280 python3 "
    .. "examples/pytorch/check_served.py --port %d %s 2>&1"):format(server.port, options))
end

describe("check_served.py #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  it("is content with the toy, and says that it has no process that could be killed", function()
    local server = nginx.start {}
    local said, good = asked(server, "--only ready,answers,cancelled,killed --leave 4")
    assert.is_false(good)
    for _, check in ipairs { "ready", "answers", "cancelled" } do
      assert.matches(check .. ": ok", said, 1, true)
    end
    assert.matches("killed: FAILED, Failed: no worker.py", said, 1, true)
    assert.matches("served: 3 passed, 1 failed", said, 1, true)
  end)
end)

describe("examples/nginx with a model in PyTorch #lua #system", function()
  after_each(nginx.stop_all)

  it("gives check_served.py what it wants, also when a worker is killed and nginx ends", function()
    if left_out() then return end
    local server = start { MODEL = folder }
    local options = "--wait %d --at-once 1,6 --answer 32 --leave 3 --long 300 --stop QUIT"
    local said, good = asked(server, options:format(LOADS))
    assert.is_true(good, said .. server:log())
    assert.matches("served: 7 passed, 0 failed", said, 1, true)
  end)

  it("streams to the openai client, and goes on when its worker is killed", function()
    if left_out() then return end
    local server = start { MODEL = folder }
    assert.is_truthy(is_up(server), server:log())
    local pipe = assert(io.popen(("%s spec/support/ecosystem.py %s model 2>&1"):format(CLIENT, server.url)))
    local got = {}
    for line in pipe:lines() do
      local ok, one = pcall(cjson.decode, line)
      if not ok then error(line .. pipe:read "*a" .. server:log()) end
      got[one.name] = one.value
      if one.name == "begun" then
        local before = server:metrics().emitted_tokens_total
        assert.is_truthy(nginx.eventually(function()
          return server:metrics().emitted_tokens_total > before + 20
        end, 60))
        os.execute("kill -9 " .. worker_of(server))
      end
    end
    pipe:close()
    assert.are.equal(folder:match "[^/]+$", got.name)
    assert.are.same({ got.completion[1], 24 }, got.stream)
    assert.are.equal(24, got.completion[2])
    assert.are.equal(got.sampled[1], got.sampled[2])
    local text, cut = got.completion[1], got.stop[1]
    assert.are.equal(text:sub(1, (text:find(cut, 1, true) or #text + 1) - 1), got.stop[2])
    local first, second, cached = unpack(got.turns)
    assert.is_true(first < second and cached >= math.floor((first - 1) / 16) * 16, cached)
    assert.are.same({ "BadRequestError", 400, "prompt", "invalid_request" }, got.refusal)
    assert.are.same(got.quiet, got.killed)
    local metrics = server:check_idle(20)
    assert.are.equal(1, metrics.worker_restarts_total)
  end)

  it("says by name what it cannot load, and does not hang", function()
    if left_out() then return end
    local place = os.tmpname()
    os.remove(place)
    finally(function() os.execute("rm -rf " .. place) end)
    local function refused(change, words, settings)
      local copy = ("rm -rf %s && cp -r %s %s && cd %s && %s"):format(place, folder, place, place, change)
      assert.is_true(select(2, nginx.run(copy)))
      settings.MODEL, settings.SERVE_TOKENIZER = place, settings.SERVE_TOKENIZER or ""
      local server = start(settings)
      assert.is_truthy(nginx.eventually(function()
        return server:log():find(words, 1, true) ~= nil
          and server:get("/healthz").body:find("the model does not run", 1, true)
      end, LOADS), words .. server:log())
      local answer = server:post { prompt = "a" }
      assert.are.same({ 503, "unavailable" }, { answer.status, cjson.decode(answer.body).error.code })
      server:stop()
    end
    refused("sed -i 's/qwen3_next/llama/' config.json", "want a hybrid model", {})
    refused("truncate -s -100 model.safetensors", "truncated", {})
    refused("true", "take", { SERVE_KV_BLOCKS = 16000000 })
    local python = nginx.run("examples/nginx/serve python"):gsub("%s+$", "")
    refused([[sed -i 's/"vocab_size": 320/"vocab_size": 300/' config.json]], "the vocabulary does not match",
      { SERVE_TOKENIZER = ("%s examples/nginx/tokenizer.py %s"):format(python, place) })
    assert.matches("MODEL = /no/such has no config.json", nginx.refusal { MODEL = "/no/such" }, 1, true)
  end)
end)
