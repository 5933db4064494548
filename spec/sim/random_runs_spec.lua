-- What simulated runs come to, a line a run: figures, curves and the report's text as one checksum, against
-- spec/goldens/texts/random-runs.txt. Many runs are as small as they can be: one request, one token, one row.
local flat = require "spec.support.flat"
local golden = require "spec.support.golden"
local sim = require("gdnmeta").sim
local wall_clock = require "gdnmeta.sim.wall_clock"
local policies = require "spec.support.random_policy"
local PRESETS = require("gdnmeta.sim.presets").names
local texts = require "spec.support.step_texts"

local random = math.random
local TINY, CASES = 40, 100
local POLICIES = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

local function pick(list) return list[random(#list)] end
local function chance(p) return random() < p end

-- n requests in order, some of them turns of sessions.
local function requests_of(n, most)
  local list, now, last = {}, random(0, 3), {}
  for k = 1, n do
    local r = { arrival = now, prompt = random(1, most), output = random(1, math.ceil(most / 4)) }
    if chance(0.4) then r.user = pick { "u1", "u2", "u3" } end
    if chance(0.3) then r.class = pick { "a", "b" } end
    if chance(0.2) then r.priority = random(0, 3) end
    if chance(0.2) then r.weight = pick { 0.5, 2 } end
    if chance(0.2) then r.ttft, r.tpot = random(1, 40) / 10, random(1, 30) / 100 end
    if chance(0.2) then r.deadline = now + random(1, 30) / 10 end
    if chance(0.3) then r.session = pick { "s1", "s2", "s3" } end
    if r.session and last[r.session] and chance(0.5) then r.after, r.think = last[r.session], random(0, 2) end
    if r.session then last[r.session] = r end
    list[k], now = r, now + pick { 0, 0.01, 0.2, 1 }
  end
  return list
end

local function options_of(case)
  local is_tiny = case <= TINY
  local o = { policy = pick(POLICIES), measure = false, seed = random(0, 9) }
  if chance(0.3) then o.policy = policies.draw(function() end) end
  o.requests = requests_of(is_tiny and random(1, 4) or random(8, 40), is_tiny and pick { 1, 2, 5 } or 900)
  o.rate = chance(0.3) and pick { 0.5, 7, 200 } or nil
  o.users = chance(0.3) and random(1, 4) or nil
  o.num_speculative_tokens = pick { 0, 0, 1, 2, 3 }
  if o.num_speculative_tokens > 0 then
    o.acceptance = pick { { mean = 1.3 }, { recorded = { { 1, 2 }, { 2 } } }, { mean = 1.5, spread = 0.2 } }
    if o.num_speculative_tokens > 1 and chance(0.2) then
      o.acceptance = { rates = { 0.9, 0.5, 0.2 } }
      o.num_speculative_tokens = 3
    end
  end
  if chance(0.3) then
    o.classes = { { name = "a", share = 0.5, priority = 1, ttft = 0.5 },
                  { name = "b", share = 0.5, tpot = 0.02 } }
  end
  if chance(0.2) then o.sessions, o.think = random(1, 4), pick { 0, 1 } end
  o.closed_loop = not o.sessions and chance(0.2)
  o.max_num_seqs, o.max_num_batched_tokens = pick { 1, 2, 8, 64 }, pick { 64, 300, 8192 }
  o.kv_tokens = chance(0.4) and pick { 0, 1400, 4000 } or nil
  o.kv_headroom, o.preempt_limit = pick { 0, 512 }, pick { 0, 3 }
  if chance(0.3) then o.mamba_cache_mode, o.mamba_block_size = "align", 64 end
  o.long_prefill_token_threshold = chance(0.2) and 100 or 0
  if chance(0.1) then
    o.chunked_prefill, o.long_prefill_token_threshold, o.max_num_batched_tokens = false, 0, 8192
  end
  o.full_cuda_graph, o.async, o.known_lengths = chance(0.7), chance(0.3), chance(0.3)
  o.preset = chance(0.3) and "constant-20ms" or pick(PRESETS)
  o.ttft_ms, o.tpot_ms, o.gap_ms = pick { 50, 2000 }, pick { 15, 100 }, chance(0.5) and 30 or nil
  o.skip, o.limit = chance(0.1) and 1 or nil, chance(0.2) and 3 or nil
  return o
end

local function line_of(case)
  math.randomseed(case)
  local o = options_of(case)
  local ok, run, message = pcall(sim.run, o)
  if not ok or not run then return ("%3d %s"):format(case, run or message) end
  local text = sim.report(run)
  run.wall, run.version = nil, nil
  local what = ("%d of %d, %d steps, %d tokens, %d preempted, %d rejected"):format(run.finished, run.requests,
    run.steps, run.emitted, run.preemptions, run.rejected)
  return ("%3d %s: %s: figures %08x, text %08x"):format(case, run.policy, what, texts.sum(7, flat("", run)),
    texts.sum(7, text))
end

describe("Runs #lua", function()
  it("of every make come to what they did", function()
    local lines = {}
    for case = 1, CASES do lines[case] = line_of(case) end
    local nobody = { name = "nobody", admit = function() return nil, "closed" end }
    for _, n in ipairs { 1, 3 } do
      local run = assert(sim.run { policy = nobody, requests = requests_of(n, 5), measure = false })
      lines[#lines + 1] = run.finished .. " of " .. n .. " " .. flat("", { run.seconds, run.busy, run.goodput,
        run.attainment, run.rejected, run.tokens_in_per_second }) .. " " .. texts.sum(7, sim.report(run))
    end
    golden("random-runs", table.concat(lines, "\n") .. "\n")
  end)

  it("are timed by a clock that goes as fast as the processor's, in nanoseconds", function()
    local clock, wall = os.clock(), wall_clock()
    repeat until os.clock() - clock > 0.02 -- seconds
    local passed = wall_clock() - wall
    assert.is_true(passed > 0.015e9 and passed < 100e9, passed)
  end)
  teardown(function() math.randomseed(os.time()) end)
end)
