-- What the body of a request to examples/nginx says, field by field.
local gdn = require "gdnmeta"
local parse = require("examples.nginx.request").parse
local uses = require "examples.nginx.uses"

-- Neutral and other values of each field, as JSON.
local BOTH = {
  model = { { '"m"', "null" }, { "1", '"é"', "{}" } },
  max_tokens = { { "1", "16.0", "1e3", "null" }, { "0", "-1", "1.5", '"3"', "1e400", "[]", "true" } },
  temperature = { { "0", "0.7", "2", "null" }, { "-0.1", "2.1", "1e400", '"0"', "{}" } },
  top_p = { { "1", "0.5", "0", "null" }, { "1.1", "-1", "[1]" } },
  seed = { { "0", "-5", "9007199254740993", "null" }, { "0.5", "1e30", '"1"' } },
  stop = { { '"x"', '["a"]', '["a","b","c","é"]', "[]", "null" },
           { '""', '["a",""]', '["1","2","3","4","5"]', "1", '[1]', '{"a":"b"}', '[null]', "true" } },
  stream = { { "true", "false", "null" }, { "1", '"true"', "[]" } },
  user = { { '"u"', '""', "null" }, { "1", "{}" } },
  priority = { { "0", "-1000", "null" }, { "1001", "0.5", '"high"', "-1e400" } },
  n = { { "1", "null" }, { "2", "0", '"1"' } },
  frequency_penalty = { { "0", "0.0", "-0", "null" }, { "0.1", '"0"' } },
  presence_penalty = { { "0", "null" }, { "-2" } },
  logit_bias = { { "{}", "null" }, { '{"5":1}' } },
  logprobs = { { "false", "null" }, { "true", "0", "5" } },
  stream_options = { { "null" }, { "{}", '{"include_usage":true}', "1" } }, -- without stream
}
local COMPLETION = {
  prompt = { { '"a"', "[104,105]", '["a"]', "[[104,105]]", '"\\u00e9\\ud83d\\ude00"' },
             { '""', "[]", "[256]", "[-1]", "[1.5]", '["a","b"]', "[[1],[2]]", '[""]', "[[]]", "[[[1]]]",
             "{}",
               "null", "1", '["a",1]', '"\\ud800"' } },
  best_of = { { "1", "null" }, { "2" } },
  echo = { { "false", "null" }, { "true" } },
  suffix = { { '""', "null" }, { '"z"' } },
}
local CHAT = {
  messages = { { '[{"role":"user","content":"hi"}]',
    '[{"role":"developer","content":[{"type":"text","text":"x"}]}]',
                 '[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[]}]',
                 '[{"role":"assistant","content":"x","refusal":null,"annotations":[],"audio":null}]' },
               { "[]", "{}", '"hi"', "[1]", "[[]]", '[{"content":"x"}]', '[{"role":"tool","content":"x"}]',
               "null",
                 '[{"role":"user"}]', '[{"role":"user","content":[]}]',
                 '[{"role":"user","content":[{"type":"image_url"}]}]',
                 '[{"role":"user","content":[{"type":"text"}]}]', '[{"role":"user","content":1}]',
                 '[{"role":"user","content":"x","weight":1}]',
                 '[{"role":"assistant","content":"x","tool_calls":[{"id":"1"}]}]' } },
  max_completion_tokens = { { "1", "null" }, { "0", '"1"' } },
  top_logprobs = { { "0", "null" }, { "1" } },
  response_format = { { '{"type":"text"}', "{}", "null" }, { '{"type":"json_object"}', '"text"' } },
  modalities = { { '["text"]', "null" }, { '["audio"]', '["text","audio"]', '"text"' } },
  tools = { { "[]", "null" }, { '[{"type":"function"}]' } },
  functions = { { "[]", "null" }, { "[1]" } },
  tool_choice = { { '"none"', '"auto"', "null" }, { '"required"', "{}" } },
  function_call = { { '"none"', "null" }, { '{"name":"f"}' } },
  parallel_tool_calls = { { "true", "false", "null" }, { "1" } },
  reasoning_effort = { { '"none"', "null" }, { '"high"' } },
  verbosity = { { '"medium"', "null" }, { '"low"' } },
  service_tier = { { '"auto"', '"default"', "null" }, { '"flex"' } },
  store = { { "true", "false", "null" }, { "1" } },
  metadata = { { "{}", '{"a":"b"}', "null" }, { '"a"', "[1]" } },
  safety_identifier = { { '"a"', "null" }, { "1" } },
  prompt_cache_key = { { '"a"', "null" }, { "1" } },
  audio = { { "null" }, { "{}" } },
  prediction = { { "null" }, { "{}", '"a"' } },
  web_search_options = { { "null" }, { "{}" } },
}

-- Every value of every field, in a body that is right otherwise.
local function check(kind, required, fields)
  for name, values in pairs(fields) do
    for at, list in ipairs(values) do
      for _, value in ipairs(list) do
        local rest = name ~= required and ("%q:%s,"):format(required,
          kind == "chat" and '[{"role":"user","content":"hi"}]' or '"hi"') or ""
        local body = ('{%s"%s":%s}'):format(rest, name, value)
        local request, message, param = parse(body, kind)
        if at == 1 then
          assert.is_truthy(request, body .. ": " .. tostring(message))
        else
          assert.is_nil(request, body)
          -- A wrong escape is none of a field's.
          assert.are.equal(message:find "not JSON" and "nil" or name, tostring(param), body .. ": "
            .. message)
        end
      end
    end
  end
end

describe("examples/nginx/request.lua", function()
  it("reads null and neutral values of every field as the API does, and refuses the others by name",
    function()
    check("completion", "prompt", BOTH)
    check("completion", "prompt", COMPLETION)
    check("chat", "messages", BOTH)
    check("chat", "messages", CHAT)
  end)

  it("makes one prompt of messages and of every form of prompt", function()
    for body, want in pairs {
      ['{"prompt":"h\\u00e9\\ud83d\\ude00"}'] = "hé😀", ['{"prompt":[104,0,255]}'] = "h\0\255",
      ['{"prompt":["é"]}'] = "é", ['{"prompt":[[1,2]]}'] = "\1\2",
    } do
      assert.are.equal(want, parse(body).prompt, body)
    end
    local request = parse([[{"messages": [{"role": "developer", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": null}], "safety_identifier": "ada"}]], "chat")
    assert.are.equal("system: Be brief.\nuser: ab\nassistant:\nassistant:", request.prompt)
    assert.are.same({ "ada", 256 }, { request.user, request.max_tokens })
    assert.are.equal(3, parse('{"messages":[{"role":"user","content":""}],"max_completion_tokens":3}',
      "chat").max_tokens)
  end)

  it("takes stream_options with a stream alone", function()
    local function options(text) return parse('{"prompt":"a",' .. text .. "}") end
    assert.are.same({ include_usage = true }, options '"stream":true,"stream_options":{"include_usage":true}'
      .stream_options)
    assert.are.same({}, options '"stream":true,"stream_options":{"include_usage":null}'.stream_options)
    assert.are.equal("stream_options", select(3, options '"stream":false,"stream_options":{}'))
    assert.are.equal("stream_options", select(3, options '"stream":true,"stream_options":{"x":1}'))
  end)

  it("reads any body to its end, and none that is no JSON", function()
    for body, message in pairs {
      ["\255"] = "not UTF-8: byte 0 is 0xff", ['{"prompt":"\237\160\128"}'] = "not UTF-8",
      ['{"prompt":"a"} x'] = "not JSON",
      ['{"prompt":"a"}\0x'] = "NUL", ['[{"prompt":"a"}]'] = "not a JSON object", ["1"] = "not a JSON object",
      [""] = "not JSON", ["\239\187\191{}"] = "not JSON", ['{"prompt":01}'] = "not JSON",
      ["{'prompt':1}"] = "not JSON",
      [('{"a":'):rep(5000)] = "not JSON", ['{"prompt":"a",}'] = "not JSON", ['{"prompt":NaN}'] = "not JSON",
    } do
      local request, problem = parse(body)
      assert.is_nil(request, body)
      assert.matches(message, problem, 1, true)
      assert.is_true(#problem < 300 and not problem:find "[^\32-\126]")
    end
    assert.are.equal("b", parse('{"prompt":"a","prompt":"b"}').prompt) -- of two the last, as most readers do
  end)
end)

describe("examples/nginx/uses.lua", function()
  it("tells whether a policy's code looks at a field", function()
    local function looks(what) return uses.field(assert(gdn.policy(what)), "priority") end
    assert.is_true(looks "priority")
    assert.is_false(looks "fcfs")
    assert.is_true(looks { order = "priority", name = "x" })
    local function helper(r) return { function() return r.priority end } end
    assert.is_true(looks { key = function(r) return helper(r)[1]() end })
    assert.is_false(looks { key = function(r) return r.arrival end, name = "priority" })
  end)
end)
