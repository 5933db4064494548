-- Errors of examples/nginx are JSON wherever they are found, and ids come back only where they are ids.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"
local socket = require "spec.support.socket"

-- The error of an answer as it came, and its head.
local function ask(server, text)
  local client = socket.connect(server.port)
  client:send(text)
  client:read(nil, 5)
  client:close()
  local status, head, body = client.text:match "^HTTP/1.1 (%d+)([^\r]*.-)\r\n\r\n(.*)$"
  return tonumber(status), body, head
end

local function problem_of(body, what)
  local ok, value = pcall(cjson.decode, body)
  assert(ok and value.error, ("%s: no JSON: %s"):format(what, body))
  local problem = value.error
  for _, name in ipairs { "message", "type", "code" } do
    assert.are.equal("string", type(problem[name]), what)
  end
  assert.is_truthy(problem.param == cjson.null or type(problem.param) == "string", what)
  return problem
end

local LONG = ("a"):rep(9000)
local HEAD = "\r\nHost: x\r\nConnection: close\r\n"

-- { status, request line and headers }
local CASES = {
  { 400, "GET /%zz HTTP/1.1" .. HEAD }, { 400, "get / HTTP/1.1" .. HEAD }, { 400, "\22\3\1\0\1\r\n" },
  { 400, "GET / HTTP/1.1\r\nConnection: close\r\n" }, { 400, "GET /../../x HTTP/1.1" .. HEAD },
  { 400, "POST /v1/completions HTTP/1.1" .. HEAD .. "Content-Length: x\r\n" },
  { 400, "POST /v1/completions HTTP/1.1" .. HEAD .. "Transfer-Encoding: chunked\r\n\r\nzz\r\n" },
  { 404, "GET /x HTTP/1.1" .. HEAD }, { 404, "POST /v1/completions/ HTTP/1.1" .. HEAD },
  { 404, "GET /error HTTP/1.1" .. HEAD }, { 404, "GET / HTTP/1.0" .. HEAD },
  { 404, "GET /v1/models/none HTTP/1.1" .. HEAD },
  { 405, "TRACE / HTTP/1.1" .. HEAD }, { 405, "PUT /v1/completions HTTP/1.1" .. HEAD },
  { 405, "POST /v1/models HTTP/1.1" .. HEAD }, { 405, "DELETE /metrics HTTP/1.1" .. HEAD },
  { 405, "POST /healthz HTTP/1.1" .. HEAD }, { 405, "GET /v1/chat/completions HTTP/1.1" .. HEAD },
  { 413, "POST /v1/completions HTTP/1.1" .. HEAD .. "Content-Length: 99999999999\r\n" },
  { 414, "GET /" .. LONG .. " HTTP/1.1" .. HEAD },
  { 415, "POST /v1/completions HTTP/1.1" .. HEAD
  .. "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\31\139" },
  { 431, "GET / HTTP/1.1" .. HEAD .. "A: " .. LONG .. "\r\n" },
  { 501, "GET / HTTP/1.1" .. HEAD .. "Transfer-Encoding: gzip\r\n" },
  { 505, "GET / HTTP/9.1" .. HEAD },
}

describe("errors of examples/nginx #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  it("are JSON in the API's shape, wherever they are found", function()
    local server = nginx.start()
    for _, case in ipairs(CASES) do
      local shown = case[2]:sub(1, 80)
      local status, body, head = ask(server, case[2] .. "\r\n")
      assert.are.equal(case[1], status, shown)
      problem_of(body, shown)
      assert.matches("\r\nContent%-Type: application/json", head, 1, false)
      assert.matches("\r\nX%-Request%-Id: ", head)
    end
    local answer = server:get("/v1/completions", "-X OPTIONS")
    assert.are.same({ 204, "POST", "" }, { answer.status, answer.headers.allow, answer.body })
    answer = server:get("/v1/models", "--head")
    assert.are.same({ 200, "" }, { answer.status, answer.body })
    answer = server:get("/v1/completions", "--head")
    assert.are.same({ 405, "" }, { answer.status, answer.body })
    answer = server:post({ prompt = "a" }, "-H 'Content-Encoding: identity'")
    assert.are.equal(200, answer.status)
  end)

  it("are no matter of conditions, which an answer does not have", function()
    local server = nginx.start()
    local front = nginx.front(server, server)
    for _, condition in ipairs { "If-None-Match: *", 'If-None-Match: "x"', 'If-Match: "x"', "If-Match: *",
      "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
      "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
      "Range: bytes=0-1", "Range: bytes=9-1" } do
      local header = ("-H '%s'"):format(condition)
      for _, one in ipairs { server, front } do
        local answer = one:post({ prompt = "a", max_tokens = 2 }, header)
        assert.are.same({ 200, 2 }, { answer.status, cjson.decode(answer.body).usage.completion_tokens },
          condition)
        assert.is_true(one:stream({ prompt = "a", max_tokens = 2 }, header).done, condition)
        assert.are.equal(200, one:get("/v1/models", header).status, condition)
        assert.are.equal('{"status":"ok"}\n', one:get("/healthz", header).body, condition)
      end
      assert.matches("gdnmeta_up 1\n", server:get("/metrics", header).body)
      assert.are.equal(404, server:get("/x", header).status, condition)
    end
    assert.are.equal(0, server:check_idle().requests_cancelled_total)
  end)

  it("are JSON behind front.conf too, whose health is that of its engines", function()
    local front = nginx.front(nginx.nobody(), nginx.nobody())
    local health = front:get "/healthz"
    assert.are.same({ 503, "unavailable" }, { health.status, problem_of(health.body, "health").code })
    local answer = front:post { prompt = "a" }
    assert.are.same({ 503, "unavailable" }, { answer.status, problem_of(answer.body, "post").code })
    for _, case in ipairs(CASES) do
      local shown = case[2]:sub(1, 80)
      local status, body = ask(front, case[2] .. "\r\n")
      assert.is_true(status >= 400, shown)
      problem_of(body, shown)
    end
    answer = front:post(cjson.encode { prompt = ("a"):rep(2 ^ 16) })
    assert.are.same({ 413, "body_too_large" }, { answer.status, problem_of(answer.body, "413").code })
  end)

  it("are not what front.conf says of its health while one engine takes requests", function()
    local mood = os.tmpname()
    finally(function() os.remove(mood) end)
    nginx.write(mood, "good")
    local moody = nginx.start { SERVE_MODEL = "spec.support.moody_model", SERVE_SEED = 1, MOODY = mood }
    local front = nginx.front(moody, nginx.start())
    nginx.write(mood, "bad")
    os.execute(("kill -9 $(cat /proc/%d/task/*/children)"):format(moody:pid()))
    assert.is_truthy(nginx.eventually(function() return moody:get("/healthz").status == 503 end))
    for n = 1, 12 do -- half of them would come to the engine that takes none
      assert.are.equal(200, front:get("/healthz", "-H 'X-Session: " .. n .. "'").status)
    end
  end)

  it("carry the client's id if it is one", function()
    local server = nginx.start()
    local function id(given)
      local text = ("GET /healthz HTTP/1.1%sX-Request-Id: %s\r\n\r\n"):format(HEAD, given)
      local _, _, head = ask(server, text)
      return head:match "\r\nX%-Request%-Id: ([^\r]*)"
    end
    for _, given in ipairs { "mine", "a.B_c-9", ("a"):rep(64) } do assert.are.equal(given, id(given)) end
    for _, given in ipairs { "", ("a"):rep(65), ("a"):rep(7000), "a b", "<script>", "é", "a\27[31m", "a;b",
      '"' } do
      assert.matches("^%x+$", id(given))
      assert.are_not.equal(given, id(given))
      assert.are.equal(32, #id(given))
    end
  end)

  it("takes bodies as large as SERVE_MAX_BODY says", function()
    local server = nginx.start { SERVE_MAX_BODY = 100, SERVE_MAX_MODEL_LEN = 1e5 }
    local fits = { prompt = ("a"):rep(90 * 1024), max_tokens = 1 }
    assert.are.equal(200, server:post(fits).status)
    local large = server:post { prompt = ("a"):rep(101 * 1024) }
    assert.are.equal(413, large.status)
    assert.matches("the body is larger than 100 KiB", large.body, 1, true)
    server:check_idle()
    for _, wrong in ipairs { "0", "x", "100000", "1k" } do
      assert.matches(("SERVE_MAX_BODY = %s, want 1 .. 99999"):format(wrong),
        nginx.refusal { SERVE_MAX_BODY = wrong }, 1, true)
    end
  end)
end)
