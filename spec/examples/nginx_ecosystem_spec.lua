-- The clients of OpenAI's API, as they are in the package index, against examples/nginx. Left out, loudly,
-- where they cannot be installed.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"

local PYTHON = "env -u LD_PRELOAD -u PYTHONPATH PYTHONDONTWRITEBYTECODE=1 timeout 150 build/venv/bin/python"
local CHAT = "user: hello\nassistant:"

-- Why they cannot run, or nil. Installing them takes a minute or two, once.
local function reason()
  if nginx.absent() then return nginx.absent() end
  local said, ok = nginx.run "env -u LD_PRELOAD scripts/clients 2>&1"
  return not ok and said:gsub("%s+$", "") or nil
end

-- Whether they cannot run, which is said aloud.
local tried, why = false, nil
local function left_out()
  if not tried then tried, why = true, reason() end
  if not why then return false end
  io.stderr:write("\nLEFT OUT, OpenAI's clients against examples/nginx: ", why, "\n")
  pending(why)
  return true
end

-- What a client's calls gave, by name.
local function values(server, client)
  local path = os.tmpname()
  local text, ok = nginx.run(("%s spec/support/ecosystem.py %s %s 2>%s"):format(PYTHON, server.url, client,
    path))
  local errors = nginx.run("tail -c 3000 " .. path)
  os.remove(path)
  assert(ok, text .. errors .. server:log())
  local found = {}
  for line in text:gmatch "[^\n]+" do
    if line:sub(1, 9) == '{"name": ' then
      local one = cjson.decode(line)
      found[one.name] = one.value
    end
  end
  return found
end

describe("clients of the package index #lua #system", function()
  after_each(nginx.stop_all)

  it("openai", function()
    if left_out() then return end
    local server = nginx.start()
    local got = values(server, "openai")
    local completion, chat = nginx.alone("hello", 12), nginx.alone(CHAT, 12)
    assert.are.same({ completion, "length", 17 }, got.completion)
    assert.are.equal(nginx.alone("hello", 16), got["neutral completion"])
    assert.are.same({ completion, 12 }, got["completion stream"])
    assert.are.same({ chat, "assistant", "length", "chat.completion", "examples.tiny_model" }, got.chat)
    assert.are.equal(chat, got["neutral chat"])
    assert.are.same({ chat, 12 }, got["chat stream"])
    local cut = chat:sub(1, chat:find(chat:sub(9, 10), 1, true) - 1)
    assert.are.same({ cut, cut, "stop" }, got["stream helper"])
    assert.are.equal(5, got["answer sent back"])
    assert.are.equal(nginx.alone("system: Be brief.\n" .. CHAT, 5), got.parts)
    local sampled = nginx.alone(CHAT, 12, { temperature = 1, seed = 1 })
    assert.are.same({ sampled, sampled }, { got.sampled[1], got.sampled[2] })
    assert.are_not.equal(sampled, got.sampled[3])
    local text, stop = got.stop[1], got.stop[2]
    assert.are.same({ text:sub(1, text:find(stop, 1, true) - 1), "stop" }, { got.stop[3], got.stop[4] })
    assert.are.same({ { "examples.tiny_model" }, "examples.tiny_model" }, got.models)
    assert.are.same({
      n = { "BadRequestError", 400, "n", "invalid_request" },
      tools = { "BadRequestError", 400, "tools", "invalid_request" },
      logprobs = { "BadRequestError", 400, "logprobs", "invalid_request" },
      unknown = { "BadRequestError", 400, "mirostat", "invalid_request" },
      long = { "BadRequestError", 400, cjson.null, "context_length_exceeded" },
      model = { "NotFoundError", 404, "model", "model_not_found" },
    }, got.refusals)
    server:check_idle()
  end)

  it("openai, while another's answer takes the only seat", function()
    if left_out() then return end
    local server = nginx.start { SERVE_MAX_NUM_SEQS = 1, SERVE_KEEP_ALIVE = 0.05, SERVE_MAX_MODEL_LEN = 1e5 }
    assert.are.same({ text = nginx.alone("hello", 12) }, values(server, "waiting"))
    assert.are.equal(1, server:check_idle().requests_cancelled_total)
  end)

  it("langchain-openai", function()
    if left_out() then return end
    local server = nginx.start()
    local got = values(server, "langchain")
    assert.are.same({ 256, 256, 256, 256 }, { got.chat, got["chat stream"], got.llm, got["llm stream"] })
    assert.are.equal(nginx.alone(CHAT, 12), got.greedy)
    server:check_idle()
  end)

  it("litellm", function()
    if left_out() then return end
    local server = nginx.start()
    local got = values(server, "litellm")
    assert.are.same({ nginx.alone(CHAT, 12), nginx.alone(CHAT, 12), nginx.alone("hello", 12) },
      { got.chat, got["chat stream"], got.completion })
    assert.are.equal(256, got.plain)
    server:check_idle()
  end)
end)
