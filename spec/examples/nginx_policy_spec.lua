-- The policy's file of examples/nginx without nginx: what is judged, run and remembered is what was read.
local gdn = require "gdnmeta"

describe("examples/nginx/policy_file.lua", function()
  local policy_file, memory, text, problem, engine, outside

  before_each(function()
    outside, memory = rawget(_G, "ngx"), {}
    local shared = { get = function(_, key) return memory[key] end,
                     set = function(_, key, value) memory[key] = value return true end }
    rawset(_G, "ngx", { shared = { serve = shared }, log = function() end })
    package.loaded["examples.nginx.regular_file"] = { read = function() return text, problem end }
    package.loaded["examples.nginx.policy_file"] = nil
    policy_file = require "examples.nginx.policy_file"
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 64 })
    engine = assert(gdn.engine { builder = builder, policy = "fcfs", max_model_len = 64 })
  end)
  after_each(function()
    engine:close()
    rawset(_G, "ngx", outside)
    package.loaded["examples.nginx.regular_file"], package.loaded["examples.nginx.policy_file"] = nil, nil
  end)

  local PATH = "no/such/policy.lua" -- by the time of a second look at it, the file is gone

  it("runs and remembers the text that it read, whatever the file has become since", function()
    text = "return { name = 'first' }"
    local first = policy_file.first(PATH)
    assert.are.same({ "first", nil }, { first.policy.name, first.refused })
    local file = policy_file.new(engine, PATH, first)
    for _, name in ipairs { "second", "third" } do
      text = ("return { name = %q }"):format(name)
      file:look()
      assert.are.same({ name, nil, text }, { engine.policy.name, file.refused, memory["policy " .. PATH] })
    end
    local good = text
    for _, bad in ipairs { "return {", "return 1", "return { kye = 1 }", "error 'x'", "while true do end" } do
      text = bad
      file:look()
      assert.are.same({ "third", good }, { engine.policy.name, memory["policy " .. PATH] }, bad)
      assert.is_string(file.refused)
      local next_worker = policy_file.first(PATH)
      assert.are.same({ "third", file.refused }, { next_worker.policy.name, next_worker.refused }, bad)
    end
    text, problem = nil, "it is a FIFO"
    assert.are.same({ "third", "it is a FIFO" }, { policy_file.first(PATH).policy.name,
      policy_file.first(PATH).refused })
    memory = {}
    assert.are.equal("fcfs", policy_file.first(PATH).policy)
    problem = nil
  end)
end)
