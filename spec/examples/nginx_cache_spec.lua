-- The state cache of examples/nginx: a turn of a chat begins with the state of the one before, nobody finds
-- states of another key, and what a request says does not depend on any of it.
local cjson = require "cjson"
local new_path = require "spec.support.new_path"
local nginx = require "spec.support.nginx"
local sse = require "spec.support.sse"

local WRK = "build/nginx/root/usr/bin/wrk"
local BLOCK = 16

local function seed() math.randomseed(tonumber(os.getenv "GDN_SEED") or os.time()) end

local function words(most)
  local bytes = {}
  for k = 1, math.random(most) do bytes[k] = string.char(math.random(97, 122)) end
  return table.concat(bytes)
end

describe("the state cache of examples/nginx #lua #system", function()
  if nginx.left_out(pending, after_each) then return end

  -- What a request says, and the tokens that its steps computed.
  local function ask(server, path, body, key)
    local before = server:metrics().scheduled_tokens_total
    local answer = server:post(body, key and ("-H 'Authorization: Bearer %s'"):format(key), path)
    assert.are.equal(200, answer.status, answer.body)
    local whole = cjson.decode(answer.body)
    return sse.text(whole), server:metrics().scheduled_tokens_total - before, whole.usage
  end

  local function chat(server, messages, key)
    return ask(server, "/v1/chat/completions", { messages = messages, max_tokens = 24 }, key)
  end

  -- Without drafts every token of an answer but the last is computed once.
  it("computes of a second turn what is new, apart from the last block of the first", function()
    local server = nginx.start { SERVE_NUM_SPECULATIVE_TOKENS = 0 }
    local messages = { { role = "system", content = "Be brief, and never say more than is asked for." } }
    local known = 0 -- tokens whose state is there
    for turn = 1, 5 do
      messages[#messages + 1] = { role = "user", content = ("Question %d: what else is there?"):format(turn) }
      local text, computed, usage = chat(server, messages)
      local length = usage.prompt_tokens
      assert.are.equal(known, usage.prompt_tokens_details.cached_tokens)
      assert.are.equal(length - known + 23, computed)
      known = math.floor((length + 23) / BLOCK) * BLOCK -- its answer's last token was not computed
      messages[#messages + 1] = { role = "assistant", content = text }
    end
    local metrics = server:check_idle()
    assert.are.equal(4, metrics.cache_hits_total)
    assert.is_true(metrics.cached_tokens_total > 300 and metrics.cache_states >= 5)
    assert.are.equal(1, metrics["cache_info turns_by_tokens"])
    local stream = server:stream({ messages = messages, max_tokens = 4, stream_options = {
      include_usage = true } }, nil, "/v1/chat/completions")
    assert.are.equal(known, stream.usage.prompt_tokens_details.cached_tokens)
  end)

  it("tells nobody what others have asked: for another key a prompt is as new as any", function()
    local server = nginx.start { SERVE_NUM_SPECULATIVE_TOKENS = 0 }
    local function cost(prompt, key)
      local _, computed, usage = ask(server, nil, { prompt = prompt, max_tokens = 1 }, key)
      return { computed, usage.prompt_tokens_details.cached_tokens }
    end
    local secret, cold = ("the launch code is 0000 "):rep(5), { 120, 0 }
    assert.are.same(cold, cost(secret, "one"))
    assert.are.same({ 8, 112 }, cost(secret, "one"))
    assert.are.same(cold, cost(secret, "two"))
    assert.are.same(cold, cost(secret))
    assert.are.same({ 8, 112 }, cost(secret, "two"))
    -- Nor where another key's prompts part from each other.
    assert.are.same(cold, cost(secret:sub(1, 60) .. ("x"):rep(60), "one"))
    local states = server:metrics().cache_states
    assert.are.same(cold, cost(secret:sub(1, 60) .. ("y"):rep(60), "three"))
    assert.are.equal(states + 1, server:metrics().cache_states)
    server:check_idle()
  end)

  it("can be left out", function()
    local server = nginx.start { SERVE_CACHE_STATES = 0, SERVE_NUM_SPECULATIVE_TOKENS = 0 }
    for _ = 1, 2 do
      local text, computed, usage = ask(server, nil, { prompt = ("a"):rep(50), max_tokens = 1 })
      assert.are.same({ nginx.alone(("a"):rep(50), 1), 50, 0 },
        { text, computed, usage.prompt_tokens_details.cached_tokens })
    end
    local metrics = server:check_idle()
    assert.is_nil(metrics.cache_hits_total)
    assert.are.equal(0, metrics.slots_used)
  end)

  -- A tree of prompts of which many begin alike, greedy and not, and what each says alone.
  local function cases_of(n)
    local cases, texts = {}, { "" }
    for k = 1, n do
      local text = texts[math.random(#texts)]:sub(1, math.random(0, 400)) .. words(80)
      local tokens, sampled = math.random(24), math.random(3) == 1
      local said = nginx.alone(text, tokens, sampled and { temperature = 1, top_p = 1, seed = k } or nil)
      texts[#texts + 1] = text .. said
      cases[k] = { prompt = text, max_tokens = tokens, stream = true, said = said,
                   temperature = sampled and 1 or nil, seed = sampled and k or nil }
    end
    return cases
  end

  local function with_cases(cases, use)
    local path, list = os.tmpname(), {}
    finally(function() os.remove(path) end)
    for n, case in ipairs(cases) do
      local body = {}
      for name, value in pairs(case) do body[name] = name ~= "said" and value or nil end
      list[n] = ("{ body = %q, text = %q }"):format(cjson.encode(body), case.said)
    end
    nginx.write(path, "return { " .. table.concat(list, ",\n") .. " }")
    use(path)
  end

  it("changes no answer, whatever is found, evicted, cancelled or left", function()
    seed()
    -- Few states, so that they are evicted; drafts; policies and caches that change meanwhile.
    local cache = new_path ".lua"
    finally(function() os.remove(cache) end)
    nginx.write(cache, "return {}")
    local server = nginx.start { SERVE_CACHE_STATES = 12, SERVE_CACHE_BLOCK = 8, SERVE_CACHE = cache,
                                 SERVE_POLICY_SECONDS = 0.05 }
    with_cases(cases_of(40), function(path)
      local leavers = ([[cache=%s
      for n in $(seq 200); do
        curl -sN -m 0.$(printf %%02d $((2 + n %% 39))) -d '%s' %s/v1/completions >/dev/null 2>&1 &
        case $((n %% 4)) in
          0) hooks="worth = function(_, n, v) for i = 1, n do v[i] = i end end" ;;
          1) hooks="keep = function(node) return node.tokens %%%% 3 > 0 end" ;;
          2) hooks="checkpoints = function(_, _, _, ctx) return ctx.every(8) end" ;;
          3) hooks="worth = function() error 'x' end" ;;
        esac
        [ $((n %% 10)) -gt 0 ] || { echo "return { $hooks }" >$cache.part && mv $cache.part $cache; }
        [ $((n %% 5)) -gt 0 ] || sleep 0.06
      done]]):format(cache, cjson.encode { prompt = ("gone "):rep(40), max_tokens = 4000, stream = true },
        server.url)
      local load = ("timeout 40 %s -t2 -c16 -d5s --timeout 20s -s %s %s/v1/completions -- %s 2>&1"):format(
        WRK, "spec/support/wrk.lua", server.url, path)
      local text = nginx.run(("{ %s; } & %s; wait"):format(leavers, load))
      assert.are.same({ "0", "0" }, { text:match "bad%s+(%d+)", text:match "errors%s+(%d+)" }, text)
      -- How many there are is a matter of how busy the machine is.
      assert.is_true(tonumber(text:match "good%s+(%d+)") > 0, text)
    end)
    local metrics = server:check_idle()
    assert.is_true(metrics.cache_hits_total > 0 and metrics.cache_evictions_total > 0, server:log())
    assert.is_true(metrics.cache_states <= 12 + 16 * 4)
    assert.is_true(metrics.requests_cancelled_total > 0)
    assert.is_true(metrics["cache_loads_total loaded"] > 1)
  end)

  it("takes up a cache's file when it changes, and goes on with the last good one", function()
    local base = os.tmpname()
    local path = base .. ".lua"
    finally(function() os.execute(("rm -rf %s %s %s.part"):format(base, path, path)) end)
    nginx.write(path, 'return { name = "first" }')
    local server = nginx.start { SERVE_CACHE = path, SERVE_POLICY_SECONDS = 0.05 }
    local function becomes(name, refused)
      return nginx.eventually(function()
        local metrics = server:metrics()
        return metrics["cache_info " .. name] == 1 and metrics.cache_refused == refused
      end)
    end
    assert.is_true(becomes("first", 0))
    nginx.write(path, 'return { name = "second", keep = function() return true end }')
    assert.is_true(becomes("second", 0))
    for _, bad in ipairs { "return {", "return { kepe = 1 }", "while true do end",
                           'return { demote = function() return "drop" end }' } do
      nginx.write(path, bad)
      assert.is_true(becomes("second", 1), bad)
      nginx.write(path, 'return { name = "second", keep = function() return true end }')
      assert.is_true(becomes("second", 0), bad)
    end
    os.execute(("rm %s && mkfifo %s"):format(path, path))
    assert.is_true(becomes("second", 1))
    os.execute("kill -9 " .. nginx.run(("cat /proc/%d/task/*/children"):format(server:pid())):match "%d+")
    assert.is_true(becomes("second", 1), server:log())
    os.execute("rm " .. path)
    nginx.write(path, 'return { name = "failing", keep = function() error "no reason" end }')
    assert.is_true(becomes("failing", 0))
    for _ = 1, 2 do
      local text = ask(server, nil, { prompt = ("b"):rep(40), max_tokens = 6 })
      assert.are.equal(nginx.alone(("b"):rep(40), 6), text)
    end
    assert.is_truthy(nginx.eventually(function()
      return server:log():find "cache failing failed 1 times, at last in keep: [^\n]*no reason"
    end), server:log())
    server:check_idle()
  end)
end)
