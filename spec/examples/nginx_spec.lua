-- examples/nginx for real: Debian's nginx on loopback, curl as client. Left out where nginx is not unpacked.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"
local sse = require "spec.support.sse"

describe("examples/nginx #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  it("answers in one piece and as a stream, with what the model says alone", function()
    local server = nginx.start { SERVE_MAX_MODEL_LEN = 20000 }
    local answer = server:post { prompt = "Once upon", max_tokens = 40 }
    assert.are.equal(200, answer.status, answer.body)
    local completion = cjson.decode(answer.body)
    assert.are.equal(nginx.alone("Once upon", 40), sse.text(completion))
    assert.are.equal("length", completion.choices[1].finish_reason)
    assert.are.equal("text_completion", completion.object)
    assert.are.same({ prompt_tokens = 9, completion_tokens = 40, total_tokens = 49,
                      prompt_tokens_details = { cached_tokens = 0 } }, completion.usage)

    local stream = server:stream({ prompt = { 79, 0, 255, 10 }, max_tokens = 60, stream_options = {
      include_usage = true } }, "-H 'X-Request-Id: mine'")
    assert.are.equal("text/event-stream", stream.answer.headers["content-type"])
    assert.are.equal("mine", stream.answer.headers["x-request-id"])
    assert.are.equal(nginx.alone("O\0\255\n", 60), stream.text)
    assert.are.same({ "length", true, 64 }, { stream.reason, stream.done, stream.usage.total_tokens })
    assert.is_true(stream.events > 10) -- not in one piece

    local long = ("a long prompt "):rep(650) -- more bytes than fit on Lua's stack at once
    assert.are.equal(nginx.alone(long, 8), server:stream({ prompt = long, max_tokens = 8 }).text)
    -- First tokens come soon; a busy machine may take some tries. That a request wakes the step loop, which
    -- looks around twice a second by itself, is seen below: streams are refused before they begin.
    local function in_time() return server:metrics()["time_to_first_token_seconds_bucket 0.25"] end
    local finished, most = 3, 0
    for _ = 1, 10 do
      local before = in_time()
      for _ = 1, 4 do server:post { prompt = "b", max_tokens = 1 } end
      finished, most = finished + 4, math.max(most, in_time() - before)
      if most == 4 then break end
    end
    assert.are.equal(4, most, server:get("/metrics").body)
    local metrics = server:check_idle()
    assert.are.same({ finished, finished },
      { metrics.requests_finished_total, metrics.time_to_first_token_seconds_count })
  end)

  it("counts the step that made a first token into its time", function()
    local server = nginx.start()
    local answer = server:post { prompt = ("a"):rep(250), max_tokens = 1 } -- one step, of many milliseconds
    assert.are.equal(200, answer.status, answer.body)
    assert.is_true(server:check_idle().time_to_first_token_seconds_sum > 0)
  end)

  it("refuses what it cannot read or do, in OpenAI's shape", function()
    local server = nginx.start()
    local function refused(status, param, message, body)
      local answer = server:post(body)
      local problem = assert(cjson.decode(answer.body).error, tostring(body) .. answer.body)
      assert.are.same({ status, param or cjson.null }, { answer.status, problem.param }, body)
      assert.are.equal("string", type(problem.code))
      assert.matches(message, problem.message, 1, true)
    end
    refused(400, nil, "not JSON", "")
    refused(400, nil, "not JSON", '{"prompt": "a"')
    refused(400, nil, "not JSON", '{"prompt": "a", "max_tokens": NaN}')
    refused(400, nil, "nested", ("["):rep(200) .. ("]"):rep(200))
    refused(400, nil, "not a JSON object", '["prompt"]')
    refused(400, "prompt", "no prompt", "{}")
    refused(400, "prompt", 'prompt = "", want a string', '{"prompt": ""}')
    refused(400, "prompt", "prompt[1] = 256, want an integer in 0 .. 255", '{"prompt": [1, 256]}')
    refused(400, "prompt", 'prompt[1] = "a", want an integer in 0 .. 255', '{"prompt": [1, "a"]}')
    refused(400, "prompt", "prompt is a list of 2 prompts, want one", '{"prompt": ["a", "b"]}')
    refused(400, "max_tokens", "max_tokens = 1.5, want an integer", '{"prompt": "a", "max_tokens": 1.5}')
    refused(400, "max_tokens", 'max_tokens = "3"', '{"prompt": "a", "max_tokens": "3"}')
    refused(400, "stream", "stream = 1, want true or false", '{"prompt": "a", "stream": 1}')
    refused(400, "temperature", "temperature = 2.5, want a number in 0 .. 2",
      '{"prompt": "a", "temperature": 2.5}')
    refused(400, "bias", 'unknown field "bias"', '{"prompt": "a", "bias": {}}')
    refused(400, "model", 'model = "\\xc3\\xa9", want a string', '{"prompt": "a", "model": "\195\169"}')
    refused(400, "\\xc3\\xa9", 'unknown field "\\xc3\\xa9"', '{"\195\169": 1}')
    refused(400, nil, "prompt_tokens = 9000, want at most 4095", cjson.encode { prompt = ("a"):rep(9000) })
    refused(413, nil, "64 KiB", cjson.encode { prompt = ("a"):rep(2 ^ 16) })
    local chunked = server:post({ prompt = ("a"):rep(2 ^ 16) }, "-H 'Transfer-Encoding: chunked'")
    assert.are.equal(413, chunked.status)
    local got = server:get "/v1/completions"
    assert.are.same({ 405, "POST" }, { got.status, got.headers.allow })
    assert.are.equal(404, server:get("/v2").status)
    assert.are.equal(200, server:post('{"prompt": "a", "max_tokens": null, "n": 1}').status)
    local metrics = server:check_idle()
    assert.are.equal(18, metrics["http_responses_total 400"])
    assert.are.equal(2, metrics["http_responses_total 413"])
  end)

  -- A client with a long answer, the nth that is here; returns what makes it leave.
  local function occupy(server, n)
    local pid = nginx.run(("curl -sN -m 120 -d '%s' %s/v1/completions >/dev/null 2>&1 & echo $!"):format(
      cjson.encode { prompt = "a", max_tokens = 9e5, stream = true }, server.url)):match "%d+"
    assert.is_truthy(nginx.eventually(function() return server:metrics().open_requests == n end))
    return function() os.execute("kill " .. pid) end
  end

  it("answers 429 when the queue is full, and cancels for clients that leave", function()
    local server = nginx.start { SERVE_MAX_NUM_SEQS = 1, SERVE_MAX_WAITING = 1, SERVE_MAX_MODEL_LEN = 1e6 }
    local first_leaves, second_leaves = occupy(server, 1), occupy(server, 2)
    local metrics = server:metrics()
    assert.are.same({ 1, 1 }, { metrics.requests_running, metrics.requests_waiting })
    local answer = server:post { prompt = "b" }
    assert.are.same({ 429, "1" }, { answer.status, answer.headers["retry-after"] })
    assert.are.equal("overloaded_error", cjson.decode(answer.body).error.type)
    second_leaves() -- from the queue
    first_leaves()
    assert.are.equal(2, server:check_idle().requests_cancelled_total)
  end)

  it("gives a request up that gets no token", function()
    local server = nginx.start { SERVE_MAX_NUM_SEQS = 1, SERVE_TIMEOUT = 2, SERVE_QUEUE_TIMEOUT = 4,
                                 SERVE_MAX_MODEL_LEN = 1e6 }
    local leave = occupy(server, 1)
    local answer = server:post { prompt = "b" }
    local message = cjson.decode(answer.body).error.message
    assert.are.same({ 504, "no token within 2 s" }, { answer.status, message })
    local stream = server:stream { prompt = "b" } -- it may wait for longer, for it hears that it waits
    assert.are.same({ 200, "", "not begun within 4 s", "timeout", false }, { stream.answer.status,
      stream.text, stream.failure.message, stream.failure.code, stream.done })
    leave()
    assert.are.equal(3, server:check_idle().requests_cancelled_total)
  end)

  -- A stream that is refused before it begins, and how many were asked for: on a busy machine one may begin
  -- with a sign of life before its first step. wait() is looked at between them.
  local function not_begun(server, prompt, wait)
    for asked = 1, 10 do
      local stream = server:stream { prompt = prompt, max_tokens = 8 }
      if stream.answer.status ~= 200 then return stream, asked end
      assert.is_truthy(stream.failure, stream.answer.body)
      assert.is_truthy(not wait or nginx.eventually(wait), server:log())
    end
    error "every stream begins"
  end

  it("takes up a policy's file when it changes, unless that is broken", function()
    local path = os.tmpname()
    os.remove(path)
    path = path .. ".lua"
    finally(function() os.remove(path) end)
    nginx.write(path, 'return { order = "fcfs", name = "first" }') -- the metrics tell the name
    local server = nginx.start { SERVE_POLICY = path, SERVE_POLICY_SECONDS = 0.05 }
    local function becomes(name, refused)
      return nginx.eventually(function()
        local metrics = server:metrics()
        return metrics["policy_info " .. name] == 1 and metrics.policy_refused == refused
      end)
    end
    assert.is_true(becomes("first", 0))
    nginx.write(path, 'return { order = "fcfs", name = "second", ')
    assert.is_true(becomes("first", 1))
    assert.matches("refused, the old one stays: policy [^\n]*expected", server:log())
    assert.are.equal(200, server:post({ prompt = "a" }).status)
    nginx.write(path, "while true do end")
    assert.is_truthy(nginx.eventually(function()
      return server:metrics()["policy_loads_total refused"] == 2
    end))
    nginx.write(path, [[error "one\ntwo\27"]])
    assert.is_truthy(nginx.eventually(function() return server:log():find([[one\ntwo\27]], 1, true) end))
    nginx.write(path, 'return { name = "third", key = function(r) return r.arrival end }')
    assert.is_true(becomes("third", 0))
    nginx.write(path, 'return { name = "failing", key = function(r) return nil + 1 end }')
    assert.is_true(becomes("failing", 0))
    assert.are.equal(nginx.alone("abc", 16), sse.text(cjson.decode(server:post({ prompt = "abc" }).body)))
    assert.is_true(server:metrics().policy_failures_total > 0)
    assert.is_truthy(nginx.eventually(function() return server:log():find "policy failing failed" end))
    nginx.write(path, 'return { name = "closed", admit = function() return nil, "closed" end }')
    assert.is_true(becomes("closed", 0))
    local stream, asked = not_begun(server, "a")
    assert.are.same({ 429, "1" }, { stream.answer.status, stream.answer.headers["retry-after"] })
    assert.are.equal(asked, server:check_idle().requests_rejected_total)
    os.remove(path)
    assert.is_true(becomes("closed", 1))
  end)

  it("does not start with a setting or a policy that is wrong", function()
    assert.matches('SERVE_SEED = "x", want an integer in 0 .. 2147483647',
      nginx.refusal { SERVE_SEED = "x" }, 1, true)
    assert.matches("no policy \"nope\", want one of", nginx.refusal { SERVE_POLICY = "nope" }, 1, true)
    assert.matches("no cache \"nope\", want one of", nginx.refusal { SERVE_CACHE = "nope" }, 1, true)
    assert.matches('SERVE_CACHE_BLOCK = "0", want an integer in 1',
      nginx.refusal { SERVE_CACHE_BLOCK = 0 }, 1, true)
    assert.matches("max_num_batched_tokens = 2, want at least 16",
      nginx.refusal { SERVE_MAX_NUM_BATCHED_TOKENS = 2 }, 1, true)
  end)

  it("begins afresh when the model fails, and sends what is no UTF-8 as U+FFFD", function()
    local server = nginx.start { SERVE_MODEL = "spec.support.faulty_model" }
    local all = {} -- no byte above 127 is part of a character here
    for n = 1, 254 do all[n] = (n + 34) % 256 < 128 and string.char((n + 34) % 256) or "\239\191\189" end
    local begun = server:stream { prompt = { 30 }, max_tokens = 8 }
    assert.are.same({ 200, "\31 !", false }, { begun.answer.status, begun.text, begun.done })
    assert.are.equal("server_error", begun.failure.code)
    local function afresh()
      return server:get("/healthz").status == 200 and server:metrics().requests_arrived_total == 0
    end
    assert.is_truthy(nginx.eventually(afresh), server:log())
    local stream = not_begun(server, "a!", afresh)
    assert.are.equal(500, stream.answer.status, stream.answer.body)
    assert.is_truthy(nginx.eventually(afresh), server:log())
    assert.matches("the step loop failed: [^\n]*a fault on purpose", server:log())
    assert.are.equal(table.concat(all), server:stream({ prompt = '"', max_tokens = 254 }).text)
  end)
end)
