-- What engines do with random traffic, row by row, and what runs of the simulator come to, figure by figure:
-- against spec/goldens/texts. A policy that is changed on purpose changes them: read the difference.
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local play = require "spec.support.random_traffic"
local recordings = require "spec.support.recordings"
local texts = require "spec.support.step_texts"

local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }
local STEPS = 45 -- of each that are written down

describe("A transcript #lua", function()
  local random = math.random

  for n, policy in ipairs(SHIPPED) do
    it("of " .. policy .. ", in order and a step ahead, with checkpoints and without", function()
      local parts = {}
      for case = 1, 2 do
        math.randomseed(100 * n + case)
        local c = play.configuration()
        c.align, c.async, c.check = case == 1, n % 2 == case % 2, false
        if c.align then c.block = math.max(c.block, c.num_spec + 1) end
        local engine, written = play.engine(c, policy), 0
        local metrics = gdn.metrics(engine)
        local opts = { engine = engine, requests = play.requests(c, 30), where = policy, cancel = 0.03 }
        function opts.on_step(step)
          written = written + 1
          if written <= STEPS then parts[#parts + 1] = texts.step(step, engine) end
        end
        function opts.on_complete(step)
          if written <= STEPS then parts[#parts + 1] = texts.done(step) end
        end
        function opts.on_cancel(id) parts[#parts + 1] = "   cancel " .. id end
        play.run(c, opts)
        parts[#parts + 1] = texts.numbers(engine.stats)
        parts[#parts + 1] = tostring(engine)
        if n == 1 then parts[#parts + 1] = metrics:text() end
        engine:close()
      end
      golden("transcript-" .. policy, table.concat(parts, "\n") .. "\n")
    end)
  end
  teardown(function() math.randomseed(os.time()) random() end)

  it("of a recording is its file", function()
    local path = os.tmpname()
    local e = recordings.engine(nil, { num_speculative_tokens = 2, num_slots = 60 })
    local recording = assert(e:record(path))
    recordings.serve(e, 6)
    recording:close()
    e:close()
    local lines = {}
    for n, line in ipairs(recordings.lines(recordings.read(path))) do
      local document = require("cjson").decode(line)
      document.library = nil
      texts.flatten(n .. ".", document, lines)
    end
    os.remove(path)
    golden("recording", table.concat(lines, "\n") .. "\n")
  end)
end)

describe("Figures #lua", function()
  it("of simulated runs", function()
    local lines = {}
    for i, o in ipairs {
      { policy = "fcfs" },
      { policy = "fair", users = 3, kv_tokens = 2000, max_num_seqs = 8 },
      { policy = "decode_first", num_speculative_tokens = 2, async = true },
      { policy = "deadline", mamba_cache_mode = "align", mamba_block_size = 64, num_slots = 40,
        classes = { { name = "a", share = 0.5, ttft = 0.1 }, { name = "b", share = 0.5, priority = 2 } } },
      { policy = "shortest_prefill", chunked_prefill = false, full_cuda_graph = false, measure = false },
    } do
      o.measure, o.seed = false, i
      o.workload = { requests = 40, rate = 20, prompt_median = 150, prompt_max = 1500, output_median = 15,
                     output_max = 80 }
      local r = assert(gdn.sim.run(o))
      lines[#lines + 1] = "== " .. o.policy
      texts.flatten("", r, lines)
    end
    golden("figures", table.concat(lines, "\n") .. "\n")
  end)
end)
