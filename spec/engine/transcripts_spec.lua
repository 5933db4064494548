-- What engines do with random traffic, row by row, and what runs of the simulator come to, figure by figure:
-- against spec/goldens/texts. A policy that is changed on purpose changes them: read the difference.
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local play = require "spec.support.random_traffic"
local recordings = require "spec.support.recordings"

local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }
local STEPS = 45 -- of each that are written down

local function list(title, values)
  if #values == 0 then return "" end
  local words = {}
  for i, value in ipairs(values) do words[i] = tostring(value) end
  return " " .. title .. " " .. table.concat(words, ",")
end

local function row_text(step, row)
  return ("%s:%d/%d%s t%d r%d"):format(step:id(row), step.query_len[row], step.seq_len[row],
    step.drafts[row] >= 0 and "+" .. step.drafts[row] or "", step.table_row[row], step.read_column[row])
end

local function step_text(step, engine)
  local rows = {}
  for row = 0, step.num_rows - 1 do rows[row + 1] = row_text(step, row) end
  local slots, kv = engine:slots(), engine:kv()
  return ("%d %s %d/%d dec %d pre %d pad %dx%d%s%s%s | %s | slots %d+%d kv %s"):format(step.number,
    step.graph, step.num_rows, step.num_tokens, step.num_decodes, step.prefill_tokens, step.padded_rows,
    step.padded_tokens, list("in", step.admitted), list("out", step.preempted), list("no", step.rejected),
    table.concat(rows, " "), slots.used, slots.free, kv and kv.used .. "/" .. kv.size or "-")
end

local function done_text(step)
  local rows = {}
  for row = 0, step.num_rows - 1 do
    rows[row + 1] = ("%d%s"):format(step.emitted[row], ({ [0] = "", "s", "l" })[step.finish[row]] or "?")
  end
  return ("   gave %s%s"):format(table.concat(rows, " "), list("done", step.finished))
end

local function stats_text(stats)
  local names, parts = {}, {}
  for name, value in pairs(stats) do
    if type(value) == "number" then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = ("%s %.6g"):format(name, stats[name]) end
  return table.concat(parts, ", ")
end

-- Scalars of a result by name, deep; what the host's clock says is left out.
local function flatten(prefix, value, lines)
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local field, where = value[name], prefix .. tostring(name)
    if name == "wall" then
      assert.is_table(field)
    elseif type(field) == "table" then
      if #field <= 12 then flatten(where .. ".", field, lines) end
    elseif type(field) == "number" then
      lines[#lines + 1] = ("%s %.6g"):format(where, field)
    elseif type(field) == "string" or type(field) == "boolean" then
      lines[#lines + 1] = ("%s %s"):format(where, tostring(field))
    end
  end
end

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
          if written <= STEPS then parts[#parts + 1] = step_text(step, engine) end
        end
        function opts.on_complete(step)
          if written <= STEPS then parts[#parts + 1] = done_text(step) end
        end
        function opts.on_cancel(id) parts[#parts + 1] = "   cancel " .. id end
        play.run(c, opts)
        parts[#parts + 1] = stats_text(engine.stats)
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
    local recording = assert(gdn.record.start(e, path))
    recordings.serve(e, 6)
    recording:close()
    e:close()
    local lines = {}
    for n, line in ipairs(recordings.lines(recordings.read(path))) do
      local document = require("cjson").decode(line)
      document.library = nil
      flatten(n .. ".", document, lines)
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
      flatten("", r, lines)
    end
    golden("figures", table.concat(lines, "\n") .. "\n")
  end)
end)
