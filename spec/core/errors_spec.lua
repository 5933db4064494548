-- The rule for errors of docs/api.md: a mistake in the program raises at the caller's line; a condition of
-- data, of the machine or of what is running returns nil, message, code. Function by function.
local gdn = require "gdnmeta"
local new_path = require "spec.support.new_path"
local serve = require "spec.support.run_engine"

local TOGETHER = { device = "cpu", max_num_seqs = 60000, num_speculative_tokens = 3 } -- 240,000 rows
local FAR = { device = "cpu", max_rows = 70000 }                                      -- past its own range

local function mixed(more)
  local o = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, full_cuda_graph = "mixed" }
  for name, value in pairs(more or {}) do o[name] = value end
  return o
end

describe("An error", function()
  local engine
  before_each(function() engine = serve.engine "fcfs" end)
  after_each(function() engine:close() end)

  -- What a program gets wrong: a range of one option or argument, a name, a type.
  local MISTAKES = {
    { "builder, range", function() gdn.builder(FAR) end },
    { "builder, name", function() gdn.builder { max_row = 1 } end },
    { "builder_bytes", function() gdn.builder_bytes(FAR) end },
    { "bucket", function() gdn.bucket(4, 16, mixed { max_rows = 70000 }) end },
    { "engine, range", function() gdn.engine { builder = engine.builder, max_model_len = 1 } end },
    { "engine, its builder", function() gdn.engine { builder = 3 } end },
    { "submit", function() engine:submit { id = 1, prompt_tokens = 0, max_tokens = 1 } end },
    { "step", function() engine:step "now" end },
    { "complete", function() engine:complete({}, 1) end },
    { "metrics", function() gdn.metrics(engine, { classes = 0 }) end },
    { "record", function() engine:record(new_path(), { max_bytes = 0 }) end },
    { "batch:push", function() engine.builder:batch():push(0, "x", 1, true) end },
    { "set_blocks", function() engine.builder:set_blocks(-1, 0, {}) end },
  }

  -- What a server meets.
  local function long() return { id = 1, prompt_tokens = 2 ^ 30, max_tokens = 1 } end
  local CONDITIONS = {
    { "builder", function() return gdn.builder(TOGETHER) end },
    { "builder_bytes", function() return gdn.builder_bytes(TOGETHER) end },
    { "bucket", function() return gdn.bucket(4, 65, mixed()) end },
    { "submit", function() return engine:submit(long()) end },
    { "cancel", function() return engine:cancel "nobody" end },
    { "checkpoint", function() return engine:checkpoint "nobody" end },
    { "set_policy", function() return engine:set_policy "/no/such/policy.lua" end },
    { "record", function() return engine:record "/no/such/folder/steps.jsonl" end },
    { "record.open", function() return gdn.record.open "/no/such/file" end },
    { "metrics", function()
      assert(gdn.metrics(engine))
      return gdn.metrics(engine)
    end },
    { "build", function()
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4 })
      local batch = builder:batch()
      assert(batch:add { query_len = 9, seq_len = 4, blocks = { 1 } })
      return builder:build(batch)
    end },
  }

  for _, entry in ipairs(MISTAKES) do
    it("of the program raises at its line: " .. entry[1], function()
      local ok, message = pcall(entry[2])
      local line = debug.getinfo(entry[2], "S").linedefined
      assert.is_false(ok)
      assert.matches(("errors_spec.lua:%d: gdnmeta"):format(line), message)
    end)
  end

  for _, entry in ipairs(CONDITIONS) do
    it("of data, machine or state returns nil, message, code: " .. entry[1], function()
      local result, message, code = entry[2]()
      assert.is_nil(result)
      assert.are.equal("string", type(message))
      assert.are.equal("number", type(code))
      assert.is_true(code < 0)
    end)
  end
end)
