-- Files of hooks of examples/nginx without nginx: what is judged, run and remembered is what was read.
local gdn = require "gdnmeta"

describe("examples/nginx/hooks_file.lua", function()
  local hooks_file, memory, text, problem, engine, outside

  before_each(function()
    outside, memory = rawget(_G, "ngx"), {}
    local shared = { get = function(_, key) return memory[key] end,
                     set = function(_, key, value) memory[key] = value return true end }
    rawset(_G, "ngx", { shared = { serve = shared }, log = function() end })
    package.loaded["examples.nginx.regular_file"] = { read = function() return text, problem end }
    package.loaded["examples.nginx.hooks_file"] = nil
    hooks_file = require "examples.nginx.hooks_file"
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 64,
                                         max_blocks_per_row = 2 })
    engine = assert(gdn.engine { builder = builder, policy = "fcfs", max_model_len = 64,
                                hash_block_size = 16 })
  end)
  after_each(function()
    engine:close()
    rawset(_G, "ngx", outside)
    package.loaded["examples.nginx.regular_file"], package.loaded["examples.nginx.hooks_file"] = nil, nil
  end)

  local PATH = "no/such/policy.lua" -- by the time of a second look at it, the file is gone

  local function name_of(kind) return kind == "policy" and engine.policy.name or engine:cached().name end

  for kind, default in pairs { policy = "fcfs", cache = false } do
    it("runs and remembers the text of a " .. kind .. " that it read", function()
      text = "return { name = 'first' }"
      local first = hooks_file.first(kind, PATH)
      assert.are.same({ "first", nil }, { first.hooks.name, first.refused })
      local file = hooks_file.new(kind, engine, PATH, first)
      for _, name in ipairs { "second", "third" } do
        text = ("return { name = %q }"):format(name)
        file:look()
        assert.are.same({ name, nil, text }, { name_of(kind), file.refused, memory[kind .. " " .. PATH] })
      end
      local good = text
      for _, bad in ipairs { "return {", "return 1", "return { kye = 1 }", "error 'x'",
                             "while true do end" } do
        text = bad
        file:look()
        assert.are.same({ "third", good }, { name_of(kind), memory[kind .. " " .. PATH] }, bad)
        assert.is_string(file.refused)
        local next_worker = hooks_file.first(kind, PATH)
        assert.are.same({ "third", file.refused }, { next_worker.hooks.name, next_worker.refused }, bad)
      end
      text, problem = nil, "it is a FIFO"
      local next_worker = hooks_file.first(kind, PATH)
      assert.are.same({ "third", "it is a FIFO" }, { next_worker.hooks.name, next_worker.refused })
      memory = {}
      assert.are.equal(default, hooks_file.first(kind, PATH).hooks or false)
      problem = nil
    end)
  end
end)
