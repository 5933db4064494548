-- Clients of examples/nginx that do not behave: they leave, read slowly, send in pieces, speak HTTP/1.0.
-- Waits poll and counts decide.
local cjson = require "cjson"
local nginx = require "spec.support.nginx"
local socket = require "spec.support.socket"
local sse = require "spec.support.sse"

local function post(body, headers)
  return socket.request("POST", "/v1/completions", headers, cjson.encode(body))
end

describe("clients of examples/nginx #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  -- Most of them have left before their handler begins; no event tells of that any more.
  for how, leave in pairs {
    ["close"] = function(client) client:close() end,
    ["reset"] = function(client) client:close(true) end,
  } do
    it("are cancelled when 200 of them " .. how .. " at once, and a lawful one is served", function()
      local server = nginx.start { SERVE_MAX_MODEL_LEN = 1e5 }
      for round = 1, 2 do
        for n = 1, 100 do
          local client = socket.connect(server.port)
          client:send(post { prompt = "gone", max_tokens = 90000, stream = n % 2 == round % 2 })
          leave(client)
        end
      end
      server:check_idle()
      local answer = server:post { prompt = "lawful", max_tokens = 8 }
      assert.are.equal(200, answer.status, answer.body)
      assert.are.equal(nginx.alone("lawful", 8), sse.text(cjson.decode(answer.body)))
      local metrics = server:check_idle()
      assert.are.equal(1, metrics.requests_finished_total)
      assert.is_true(metrics.emitted_tokens_total < 20000, server:log()) -- a fourth of one long answer
    end)
  end

  it("are noticed when they leave while they wait, also with a second request sent ahead", function()
    local server = nginx.start { SERVE_MAX_MODEL_LEN = 1e6, SERVE_MAX_NUM_SEQS = 1 }
    local clients = {}
    for n = 1, 6 do
      local body = post { prompt = "waits", max_tokens = 9e5, stream = n % 2 == 0 }
      clients[n] = socket.connect(server.port)
      clients[n]:send(n % 3 == 0 and body .. post { prompt = "b" } or body)
    end
    assert.is_truthy(nginx.eventually(function() return server:metrics().open_requests == 6 end))
    for n = 1, 6 do clients[n]:close() end
    assert.are.equal(6, server:check_idle().requests_cancelled_total)
  end)

  it("are answered in order when they send requests ahead", function()
    local server = nginx.start()
    local client, want = socket.connect(server.port), {}
    for n = 1, 4 do
      client:send(post { prompt = "ahead " .. n, max_tokens = 5 })
      want[n] = nginx.alone("ahead " .. n, 5)
    end
    client:read(("HTTP/1.1.*"):rep(4) .. "}}?$")
    local texts = {}
    for body in client.text:gmatch "\r\n\r\n(%b{})" do texts[#texts + 1] = sse.text(cjson.decode(body)) end
    client:close()
    assert.are.same(want, texts)
    assert.are.equal(4, server:check_idle().requests_finished_total)
  end)

  it("get every event over HTTP/1.0", function()
    local server = nginx.start()
    local stream = server:stream({ prompt = "old", max_tokens = 40 }, "-0")
    assert.are.same({ nginx.alone("old", 40), true }, { stream.text, stream.done })
    assert.is_true(stream.events > 10)
    local answer = server:post({ prompt = "old", max_tokens = 4 }, "-0")
    assert.are.equal(nginx.alone("old", 4), sse.text(cjson.decode(answer.body)))
    -- As it comes, not at the end.
    local client = socket.connect(server.port)
    local body = cjson.encode { prompt = "old", max_tokens = 4000, stream = true }
    client:send(("POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
    assert.is_true(client:read "data: [^\n]*\n\ndata: ")
    client:close()
    assert.are.equal(1, server:check_idle().requests_cancelled_total)
  end)

  it("get every event, as it comes, through an nginx that knows nothing but proxy_pass", function()
    local server, path = nginx.start(), os.tmpname()
    finally(function() os.remove(path) end)
    local lines = { "pid build/nginx/run/nginx.pid; error_log build/nginx/run/error.log; events {}",
                    "http { access_log off;" }
    for _, kind in ipairs { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" } do
      lines[#lines + 1] = ("%s_temp_path build/nginx/run/%s;"):format(kind, kind)
    end
    lines[#lines + 1] = "server { listen 127.0.0.1:8080;"
    lines[#lines + 1] = ("location / { proxy_pass http://127.0.0.1:%d; } } }"):format(server.port)
    nginx.write(path, table.concat(lines, "\n"))
    local front = nginx.start { CONF = path }
    local stream = front:stream { prompt = "stock", max_tokens = 40 }
    assert.are.same({ nginx.alone("stock", 40), true }, { stream.text, stream.done })
    local client = socket.connect(front.port)
    client:send(post { prompt = "stock", max_tokens = 4000, stream = true })
    assert.is_true(client:read "data: [^\n]*\n\n.*data: ")
    client:close() -- which the engine behind notices
    assert.are.equal(1, server:check_idle().requests_cancelled_total)
    -- A few bytes are not kept until there are more.
    server = nginx.start { SERVE_MAX_NUM_SEQS = 1, SERVE_KEEP_ALIVE = 0.5, SERVE_MAX_MODEL_LEN = 1e6 }
    lines[#lines] = ("location / { proxy_pass http://127.0.0.1:%d; } } }"):format(server.port)
    nginx.write(path, table.concat(lines, "\n"))
    front = nginx.start({ CONF = path }, "/healthz")
    client = socket.connect(server.port)
    local waits = socket.connect(front.port)
    client:send(post { prompt = "long", max_tokens = 9e5, stream = true })
    assert.is_true(client:read "data: ")
    waits:send(post { prompt = "waits", max_tokens = 2, stream = true })
    assert.is_true(waits:read("keep%-alive\n\n.*keep%-alive\n\n", 5))
    client:close()
    waits:close()
    server:check_idle()
  end)

  it("hear that they wait in the queue, for as long as they do", function()
    local server = nginx.start { SERVE_MAX_NUM_SEQS = 1, SERVE_MAX_MODEL_LEN = 1e6, SERVE_KEEP_ALIVE = 0.1,
                                 SERVE_TIMEOUT = 2 }
    local first, second = socket.connect(server.port), socket.connect(server.port)
    first:send(post { prompt = "first", max_tokens = 9e5, stream = true })
    assert.is_true(first:read "data: ")
    second:send(post { prompt = "second", max_tokens = 5, stream = true })
    local keeps = ("[^\n]*: keep%-alive\n\n.*"):rep(8)
    local text = ""
    for _ = 1, 4 do -- 32 of them: longer than SERVE_TIMEOUT
      assert.is_true(second:read(keeps))
      text, second.text = text .. second.text, ""
    end
    second.text = text
    assert.matches("^HTTP/1.1 200 .*text/event%-stream", second.text)
    assert.is_nil(second.text:find "data: ")
    first:close()
    assert.is_true(second:read "data: %[DONE%]")
    second:close()
    text = second.text:match "\r\n\r\n(.*)$":gsub("%x+\r\n", ""):gsub("\r\n", "")
    local stream = sse.read(text)
    assert.are.equal(nginx.alone("second", 5), stream.text)
    assert.is_true(stream.comments >= 32)
    server:check_idle()
  end)

  it("may read slowly: no other client waits for them", function()
    local server = nginx.start { SERVE_MAX_MODEL_LEN = 20000 }
    local slow = socket.connect(server.port, 2048)
    slow:send(post { prompt = "slow", max_tokens = 3000, stream = true })
    local stream = server:stream { prompt = "quick", max_tokens = 30 }
    assert.are.same({ nginx.alone("quick", 30), true }, { stream.text, stream.done })
    assert.is_true(slow:read("data: %[DONE%]", 30))
    slow:close()
    local text = slow.text:match "\r\n\r\n(.*)$":gsub("%x+\r\n", ""):gsub("\r\n", "")
    assert.are.equal(nginx.alone("slow", 3000), sse.read(text).text)
    server:check_idle()
  end)

  it("may send a body in pieces, wait to be asked for it, or send it in chunks", function()
    local server = nginx.start()
    local body, want = cjson.encode { prompt = "pieces", max_tokens = 5 }, nginx.alone("pieces", 5)
    local head = ("POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n")
    local client = socket.connect(server.port)
    client:send(head:format("Content-Length: " .. #body))
    for n = 1, #body do
      client:send(body:sub(n, n))
      if n % 10 == 0 then os.execute "sleep 0.01" end
    end
    local asked = socket.connect(server.port)
    asked:send(head:format("Expect: 100-continue\r\nContent-Length: " .. #body))
    assert.is_true(asked:read "^HTTP/1.1 100 Continue\r\n\r\n")
    asked:send(body)
    local chunks = socket.connect(server.port)
    chunks:send(head:format "Transfer-Encoding: chunked")
    for n = 1, #body, 7 do
      local piece = body:sub(n, n + 6)
      chunks:send(("%x;a=b\r\n%s\r\n"):format(#piece, piece))
    end
    chunks:send "0\r\n\r\n"
    for _, one in ipairs { client, asked, chunks } do
      one:read()
      assert.are.equal(want, sse.text(cjson.decode(one.text:match "({.*})")))
      one:close()
    end
    -- One who leaves in the middle of a body has asked for nothing.
    local half = socket.connect(server.port)
    half:send(head:format("Content-Length: " .. #body) .. body:sub(1, 9))
    half:close()
    assert.are.equal(3, server:check_idle().requests_arrived_total)
  end)
end)
