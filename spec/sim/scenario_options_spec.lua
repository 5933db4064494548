-- What the engine and the builders of a run are made with, option by option, against spec/goldens/texts.
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"
local scenario = require "gdnmeta.sim.scenario"

local notes = noted.new "sim-"

local REQUESTS = { { arrival = 0, prompt = 40, output = 9 }, { arrival = 1, prompt = 7, output = 3 } }
local WITH_BLOCKS = { block_size = 16, { arrival = 0, prompt = 40, output = 9, blocks = { 1, 2 } } }

local CASES = {
  {}, { num_groups = 1 }, { num_speculative_tokens = 3 }, { async = true }, { max_num_seqs = 9 },
  { mamba_cache_mode = "align" }, { mamba_cache_mode = "align", mamba_block_size = 16, max_num_seqs = 1 },
  { mamba_cache_mode = "align", mamba_block_size = 7, num_speculative_tokens = 2, max_num_seqs = 1 },
  { mamba_cache_mode = "align", mamba_block_size = 7, async = true, max_num_seqs = 1 },
  { num_slots = 900 }, { full_cuda_graph = false }, { max_cudagraph_capture_size = 16 },
  { max_model_len = 100 }, { kv_tokens = 0 }, { kv_tokens = 4096 }, { ttft_ms = 250, tpot_ms = 125 },
  { long_prefill_token_threshold = 5, chunked_prefill = false, kv_headroom = 0, preempt_limit = 2, seed = 9 },
  { measure = false, aging = 7, on_policy_error = "raise" }, { cache = true, requests = WITH_BLOCKS },
  { cache = "gdsf", cache_slots = 3, host_slots = 2, host_link = 5, requests = WITH_BLOCKS,
    preset = "h100-qwen3.6-27b-fp8" },
  { cache = true, cache_slots = 5, mamba_cache_mode = "align", mamba_block_size = 16, requests = WITH_BLOCKS,
    max_num_seqs = 1 },
  { cache = "lru", requests = WITH_BLOCKS }, { cache = true }, { cache = false }, { policy = "none" },
  { known_lengths = true, max_num_batched_tokens = 300 }, { users = 2, preset = "none" },
}

describe("A run's engine #lua", function()
  before_each(notes.clear)

  it("is made with these options, and so are its builders", function()
    local made = {}
    local function watched(name)
      local make = gdn[name]
      return stub(gdn, name, function(options)
        local shown = {}
        for field, value in pairs(options) do
          local kind = type(value)
          local is_plain = kind == "number" or kind == "string" or kind == "boolean"
          shown[field] = is_plain and tostring(value) or kind
        end
        made[#made + 1] = { name, shown }
        return make(options)
      end)
    end
    local builder, engine = watched "builder", watched "engine"
    for _, case in ipairs(CASES) do
      local o = { requests = REQUESTS, preset = "constant-20ms" }
      for name, value in pairs(case) do o[name] = value end
      made = {}
      local ok, s, message = pcall(scenario.new, o)
      local shown = {}
      for name, value in pairs(case) do shown[name] = type(value) == "table" and "given" or value end
      notes.note("with", shown, not ok and tostring(s):gsub("^[^:]*:%d+: ", "") or message)
      for _, entry in ipairs(made) do notes.note("  " .. entry[1], entry[2]) end
      if ok and s then
        notes.note("  run", s.name, s.max_tokens, s.max_model_len, ("%.9g"):format(s.copy_ms or 0))
        local facts = scenario.describe(s)
        facts.coefficients = nil
        notes.note("  facts", facts)
        s.engine:close()
        for _, b in ipairs(s.builders) do b:close() end
      end
    end
    builder:revert()
    engine:revert()
    notes.check "scenarios"
  end)

  it("is closed when the run ends, however it ends, and so are its builders", function()
    for _, policy in ipairs { "fcfs", { name = "idler", admit = function() return false end }, "none" } do
      local made = {}
      local stubs = {}
      for k, name in ipairs { "builder", "engine" } do
        local make = gdn[name]
        stubs[k] = stub(gdn, name, function(options)
          made[#made + 1] = assert(make(options))
          return made[#made]
        end)
      end
      gdn.sim.run { requests = REQUESTS, preset = "constant-20ms", policy = policy, async = true }
      for _, stubbed in ipairs(stubs) do stubbed:revert() end
      assert.are.equal(policy == "none" and 0 or 3, #made)
      for _, object in ipairs(made) do assert.matches(", closed%)$", tostring(object)) end
    end
  end)

  it("counts users, classes and priorities, of which none is one", function()
    local requests = {}
    for i = 1, 6 do
      requests[i] = { arrival = i, prompt = 4, output = 2, user = ({ "a", "b", nil })[i % 3 + 1],
                      class = i > 3 and "c" or nil, priority = i }
    end
    local s = assert(scenario.new { requests = requests, preset = "constant-20ms" })
    assert.are.same({ users = 3, classes = 2, priorities = 6 }, scenario.describe(s).distinct)
    s.engine:close()
  end)
end)
