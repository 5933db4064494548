-- What examples/nginx does with a request: stop, temperature and seed, conversations, models, priorities.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"
local socket = require "spec.support.socket"
local sse = require "spec.support.sse"

describe("the API of examples/nginx #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  it("samples by seed, the same in a stream, in a batch and alone", function()
    local server = nginx.start()
    local function text(fields)
      local body = { prompt = "sample", max_tokens = 24 }
      for name, value in pairs(fields) do body[name] = value end
      local answer = server:post(body)
      assert.are.equal(200, answer.status, answer.body)
      return sse.text(cjson.decode(answer.body))
    end
    local first = text { temperature = 1, seed = 1 }
    assert.are.equal(first, text { temperature = 1, seed = 1 })
    assert.are.equal(first, nginx.alone("sample", 24, { temperature = 1, seed = 1 }))
    assert.are.equal(first, server:stream({ prompt = "sample", max_tokens = 24, temperature = 1,
      seed = 1 }).text)
    assert.are_not.equal(first, text { temperature = 1, seed = 2 })
    assert.are_not.equal(text { temperature = 1 }, text { temperature = 1 }) -- no seed: by chance
    assert.are.equal(nginx.alone("sample", 24), text { temperature = 0, seed = 3 })
    assert.are.equal(nginx.alone("sample", 24), text { temperature = 1e-9, seed = 3 })
    assert.are.equal(nginx.alone("sample", 24), text { temperature = 2, top_p = 0, seed = 3 })
  end)

  it("ends an answer before its stop text, wherever tokens and events are cut", function()
    local server = nginx.start { SERVE_MODEL = "spec.support.cycle_model" } -- says é 😀€! over and over
    local function both(stop, n, text, reason, tokens)
      local whole = cjson.decode(server:post({ prompt = "a", max_tokens = n, stop = stop }).body)
      assert.are.same({ text, reason, tokens }, { sse.text(whole), whole.choices[1].finish_reason,
        whole.usage.completion_tokens })
      local stream = server:stream { prompt = "a", max_tokens = n, stop = stop,
                                     stream_options = { include_usage = true } }
      assert.are.same({ text, reason, tokens, true },
        { stream.text, stream.reason, stream.usage.completion_tokens, stream.done })
    end
    both("€", 40, "é 😀", "stop", 10)
    both({ "zzz", "!é", "😀€x" }, 40, "é 😀€", "stop", 13)
    both({ "😀€!é 😀€!é" }, 40, "é ", "stop", 24)
    both({ "nothing" }, 11, "é 😀€!", "length", 11)
    both({ "!x" }, 11, "é 😀€!", "length", 11) -- held back, and then sent
    both({ "é" }, 40, "", "stop", 2)
    both(nil, 12, "é 😀€!\239\191\189", "length", 12) -- ends within a character
    both(nil, 9, "é 😀\239\191\189", "length", 9)
    -- This model is greedy.
    local answer = server:post { prompt = "a", temperature = 0.5 }
    assert.are.same({ 400, "temperature" }, { answer.status, cjson.decode(answer.body).error.param })
  end)

  it("holds a conversation", function()
    local server = nginx.start()
    local body = { messages = { { role = "system", content = "Be brief." }, { role = "user",
      content = "hé" } },
                   max_tokens = 12 }
    local want = nginx.alone("system: Be brief.\nuser: hé\nassistant:", 12)
    local answer = server:chat(body)
    local chat = cjson.decode(answer.body)
    assert.are.same({ 200, "chat.completion", want, "assistant", "length", 50 }, { answer.status, chat.object,
      chat.choices[1].message.content, chat.choices[1].message.role, chat.choices[1].finish_reason,
      chat.usage.total_tokens })
    body.stream_options = { include_usage = true }
    local stream = server:stream(body, nil, "/v1/chat/completions")
    assert.are.same({ want, "assistant", "length", true, 12 }, { stream.text, stream.role, stream.reason,
      stream.done,
      stream.usage.completion_tokens })
    assert.matches("^chatcmpl%-%x+$", chat.id)
    body.tools = { { type = "function" } }
    assert.are.equal("tools", cjson.decode(server:chat(body).body).error.param)
  end)

  it("measures by class, each family once", function()
    local server = nginx.start()
    server:post { prompt = "a", max_tokens = 3 }
    server:chat { messages = { { role = "user", content = "a" } }, max_tokens = 5 }
    local text, families = server:get("/metrics").body, {}
    for family in text:gmatch "# TYPE (%S+)" do
      assert.is_nil(families[family], family)
      families[family] = true
    end
    for _, name in ipairs { "step", "policy", "build" } do
      assert.is_true(tonumber(text:match("\ngdnmeta_" .. name .. "_seconds_count (%d+)")) >= 8, name)
      assert.is_true(tonumber(text:match("\ngdnmeta_" .. name .. "_seconds_sum (%S+)")) > 0, name)
    end
    for class, tokens in pairs { completion = 3, chat = 5 } do
      local function sample(name)
        return tonumber(text:match(('\ngdnmeta_%s{class="%s"} (%%S+)'):format(name, class)))
      end
      assert.are.same({ 1, tokens, 1, 1, 1 }, { sample "requests_arrived_total",
        sample "emitted_tokens_total",
        sample "time_to_first_token_seconds_count", sample "queue_seconds_count",
          sample "request_seconds_count" })
    end
  end)

  it("lists its model", function()
    local server = nginx.start()
    local list = cjson.decode(server:get("/v1/models").body)
    assert.are.same({ "list", 1, "examples.tiny_model", "model" }, { list.object, #list.data, list.data[1].id,
      list.data[1].object })
    assert.are.same(list.data[1], cjson.decode(server:get("/v1/models/examples.tiny_model").body))
    local answer = server:get "/v1/models/a/b"
    assert.are.same({ 404, "model_not_found" }, { answer.status, cjson.decode(answer.body).error.code })
  end)

  it("uses priority where the policy does, and refuses it elsewhere", function()
    local server = nginx.start()
    local answer = server:post { prompt = "a", priority = -1000 }
    local problem = cjson.decode(answer.body).error
    assert.are.same({ 400, "priority" }, { answer.status, problem.param })
    assert.matches("priority = %-1000, want 0: the policy %S+ does not look at it", problem.message)
    assert.are.equal(200, server:post({ prompt = "a", priority = 0 }).status)
    assert.are.equal(200, server:post('{"prompt":"a","priority":null}').status)
    local other = nginx.start { SERVE_POLICY = "priority" }
    answer = other:post { prompt = "a", priority = -1000 }
    assert.are.equal(200, answer.status, answer.body)
    -- Who comes last and is the most important begins first.
    local full = nginx.start { SERVE_POLICY = "priority", SERVE_MAX_NUM_SEQS = 1, SERVE_MAX_MODEL_LEN = 1e6 }
    local clients = {}
    for n, priority in ipairs { -1000, 5, 0 } do
      clients[n] = socket.connect(full.port)
      clients[n]:send(socket.request("POST", "/v1/completions", nil, cjson.encode {
        prompt = "a", max_tokens = 9e5, stream = true, priority = priority }))
      assert.is_truthy(nginx.eventually(function() return full:metrics().open_requests == n end))
    end
    assert.is_true(clients[1]:read "data: ")
    clients[1]:close()
    assert.is_true(clients[3]:read "data: ")
    assert.is_false((clients[2]:read("data: ", 0)))
    for n = 2, 3 do clients[n]:close() end
    assert.are.equal(3, full:check_idle().requests_cancelled_total)
  end)
end)
