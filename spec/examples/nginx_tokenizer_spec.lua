-- examples/nginx with a tokenizer's process: tokens that are no bytes, and a process that dies, hangs or says
-- what it should not.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"
local process_state = require "spec.support.process_state"
local sse = require "spec.support.sse"
local utf8 = require "examples.nginx.utf8"
local wall_clock = require "gdnmeta.sim.wall_clock"

local TOKENIZER = "python3 spec/support/letters_tokenizer.py"
local PIECES = { [0] = "\195", "\169", "ab", " " }
local END = "A"

describe("examples/nginx with a tokenizer #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  local function start(settings, tokenizer)
    settings.SERVE_WORKER, settings.SERVE_TOKENIZER = "luajit examples/worker.lua", tokenizer or TOKENIZER
    settings.SERVE_WORKER_DEADLINE = settings.SERVE_WORKER_DEADLINE or 3
    return nginx.start(settings)
  end

  -- The text of n tokens that the model says, how many they are up to an end, and why they end there.
  local function said(prompt, n)
    local alone = nginx.alone(prompt, n)
    local ends = alone:find(END, 1, true)
    local counted = ends or n
    local bytes = alone:sub(1, ends and ends - 1 or n):gsub(".", function(c) return PIECES[c:byte() % 4] end)
    return utf8.decoder():feed(bytes, true), counted, ends and "stop" or "length"
  end

  -- A prompt whose answer has an end within n tokens, or none.
  local function prompt_with(ends, n)
    for k = 1, 500 do
      local prompt = "prompt " .. k
      if (nginx.alone(prompt, n):find(END, 1, true) ~= nil) == ends then return prompt end
    end
  end

  -- The tokenizer's process.
  local function process_of(server)
    local host = nginx.run(("cat /proc/%d/task/*/children"):format(server:pid())):match "%d+"
    for pid in nginx.run(("cat /proc/%s/task/*/children"):format(host)):gmatch "%d+" do
      local words = nginx.run(("cat /proc/%s/cmdline"):format(pid))
      if words:find("letters_tokenizer", 1, true) then return pid end
    end
  end

  it("counts tokens, holds halves of characters, and ends at a token that ends an answer", function()
    local server = start {}
    for _, ends in ipairs { true, false } do
      local prompt = prompt_with(ends, 40)
      local text, tokens, reason = said(prompt, 40)
      local answer = server:post { prompt = prompt, max_tokens = 40 }
      assert.are.equal(200, answer.status, answer.body)
      local whole = cjson.decode(answer.body)
      assert.are.same({ text, reason, tokens, #prompt }, { sse.text(whole), whole.choices[1].finish_reason,
        whole.usage.completion_tokens, whole.usage.prompt_tokens })
      local stream = server:stream { prompt = { prompt:byte(1, -1) }, max_tokens = 40,
        stream_options = { include_usage = true } }
      assert.are.same({ text, reason, tokens },
        { stream.text, stream.reason, stream.usage.completion_tokens })
    end
    local prompt = prompt_with(false, 40)
    local text = said(prompt, 40)
    local cut = server:post { prompt = prompt, max_tokens = 40, stop = { "ab" } }
    local kept = (text:find("ab", 1, true) or #text + 1) - 1
    assert.are.equal(text:sub(1, kept), sse.text(cjson.decode(cut.body)))
    local chat = cjson.decode(server:chat({ messages = { { role = "user", content = "by the template" } },
      max_tokens = 12 }).body)
    assert.are.equal((said("by the template!", 12)), sse.text(chat))
    server:check_idle()
  end)

  it("reads many prompts at once, also where the tokenizer is slow to take connections", function()
    local server = start { SERVE_MAX_WAITING = 64 }
    local told, good = nginx.run(("env -u LD_PRELOAD PYTHONDONTWRITEBYTECODE=1 timeout 100 python3 "
      .. "examples/pytorch/check_served.py --port %d --only ready,together --at-once 48 --answer 8 2>&1")
      :format(server.port))
    assert.is_true(good, told .. server:log())
    assert.is_nil(server:log():find("[error]", 1, true), server:log())
    server:check_idle()
  end)

  it("answers 400 where the text is at fault, and 503 where the tokenizer is", function()
    local server = start {}
    for text, want in pairs {
      wrong = { 400, "prompt", "the template says no" }, nothing = { 400, "prompt", "prompt has no tokens" },
      garbage = { 503, cjson.null, "the tokenizer: the body is not JSON" },
      leaves = { 503, cjson.null, "the tokenizer does not answer: closed" },
      object = { 503, cjson.null, "the tokenizer gave no tokens" },
      ["token 300"] = { 503, cjson.null, "the tokenizer gave token 300, the model has 0 .. 299" },
      ["token -1"] = { 503, cjson.null, "the tokenizer gave token -1," },
      ["token 1.5"] = { 503, cjson.null, "the tokenizer gave token 1.5," },
      ['token "x"'] = { 503, cjson.null, "the tokenizer gave token x," },
    } do
      local answer = server:post { prompt = text }
      local problem = cjson.decode(answer.body).error
      assert.are.same({ want[1], want[2] }, { answer.status, problem.param }, text)
      assert.matches(want[3], problem.message, 1, true)
    end
    local refused = server:post { prompt = { 1, 300 } }
    assert.are.same({ 400, "prompt[1] = 300, want an integer in 0 .. 299" },
      { refused.status, cjson.decode(refused.body).error.message })
    assert.are.equal(200, server:post({ prompt = { 1, 299 }, max_tokens = 2 }).status)
    assert.are.equal(0, server:check_idle().worker_restarts_total)
  end)

  for name, signal in pairs { killed = "KILL", stopped = "STOP" } do
    it("is replaced when it is " .. name, function()
      local server = start { SERVE_POLICY_SECONDS = 0.05 }
      local text = said("a prompt", 6)
      local old = process_of(server)
      os.execute(("kill -%s %s"):format(signal, old))
      -- A signal is sent before it works: until then it may answer.
      assert.is_truthy(nginx.eventually(function() return (process_state(old) or "Z"):find "[TZ]" end))
      local answer = server:post { prompt = "a prompt", max_tokens = 6 }
      assert.is_true(answer.status == 503 or answer.status == 200 and signal == "KILL", answer.body)
      assert.is_truthy(nginx.eventually(function()
        local again = server:post { prompt = "a prompt", max_tokens = 6 }
        return again.status == 200 and sse.text(cjson.decode(again.body)) == text
      end), server:log())
      assert.are_not.equal(old, process_of(server))
      assert.are.equal(0, server:metrics().worker_restarts_total)
      server:check_idle()
    end)
  end

  it("is missed by /healthz until another one listens, while prompts that are tokens are answered", function()
    local server = start { SERVE_POLICY_SECONDS = 3600 } -- nobody looks, so that none takes its place
    os.execute("kill -9 " .. process_of(server))
    local health
    assert.is_truthy(nginx.eventually(function()
      health = server:get "/healthz"
      return health.status == 503
    end), server:log())
    local answer = server:post { prompt = "a" }
    assert.are.same({ 503, 503 }, { health.status, answer.status })
    for _, body in ipairs { health.body, answer.body } do
      assert.matches("the tokenizer is being loaded again", body, 1, true)
    end
    assert.are.equal(200, server:post({ prompt = { 1, 2 }, max_tokens = 2 }).status)
    local metrics = server:check_idle()
    assert.are.same({ 0, 1 }, { metrics.up, metrics.worker_up })
    assert.is_nil(server:log():find("connect() to unix", 1, true))
  end)

  it("is started after growing pauses while it ends before it listens", function()
    local path = os.tmpname()
    nginx.write(path .. ".sh",
      ('[ -e %s.ends ] || exec %s "$1"\necho >>%s; exit 3\n'):format(path, TOKENIZER, path))
    local server = start({ SERVE_POLICY_SECONDS = 0.01 }, "sh " .. path .. ".sh")
    local function starts() return #nginx.run("cat " .. path) end
    nginx.write(path .. ".ends", "")
    local began = wall_clock() -- before the first pause, however late this goes on
    os.execute("kill -9 " .. process_of(server))
    -- Three pauses between them: 0.5, 1 and 2 seconds.
    assert.is_truthy(nginx.eventually(function() return starts() == 4 end, 60), server:log())
    assert.is_true(wall_clock() - began > 3.4e9)
    os.remove(path .. ".ends")
    assert.is_truthy(nginx.eventually(function() return server:get("/healthz").status == 200 end, 60))
    for _, name in ipairs { path, path .. ".sh" } do os.remove(name) end
    server:check_idle()
  end)

  it("is named where it does not start", function()
    local server = nginx.start({ SERVE_WORKER = "luajit examples/worker.lua", SERVE_TOKENIZER = "false" },
      "/healthz")
    assert.is_truthy(nginx.eventually(function()
      return server:get("/healthz").body:find("the tokenizer has ended", 1, true)
    end), server:log())
    assert.are.equal(503, server:post({ prompt = "a" }).status)
  end)
end)
