-- What engines decide on random traffic under random policies: one checksum a case, of every row, figure and
-- message, against spec/goldens/texts/decisions.txt. A decision that is changed on purpose changes some: the
-- counts beside it say how much.
local golden = require "spec.support.golden"
local other_numbers = require "spec.support.other_numbers"
local play = require "spec.support.random_traffic"
local policies = require "spec.support.random_policy"
local texts = require "spec.support.step_texts"

local random = math.random
local CASES = 90
-- With less memory; these came of a search for cases in which a rare branch decides.
local SCARCE = { 132, 138, 150, 252, 276, 689 }
local NO_KERNEL = { run = function() end } -- invariants_spec.lua follows the states

local function pick(list) return list[random(#list)] end

-- Beyond what random traffic draws itself.
local function configuration(is_scarce)
  local c = play.configuration()
  c.check, c.async, c.breaker = false, random() < 0.3, pick { 3, 1000 }
  if random() < 0.1 then
    c.chunked, c.threshold, c.align, c.block, c.budget = false, 0, false, 16, c.max_model_len
  end
  if is_scarce and random() < 0.6 then
    c.num_slots = 1 + (c.align and c.num_spec + 2 or c.num_spec + 1) + 2 + random(0, 2 * c.seqs)
  end
  if not is_scarce and c.num_groups > 1 and random() < 0.3 then -- pools of many sizes, the least one anywhere
    local sizes = {}
    for group = 1, c.num_groups do sizes[group] = c.num_slots + random(0, 4) end
    c.num_slots = sizes
  end
  c.preempt_limit, c.rekey_limit = pick { 0, 1, 3 }, pick { 1, 3, 128 }
  c.aging, c.ttft, c.tpot = pick { 0, 5, 20 }, pick { 5, 1e3, math.huge }, pick { 2, 1e3, math.huge }
  c.capture_sizes = pick { false, { 2, 5, 8, 40 } } or nil
  c.default_drafts = c.num_spec > 0 and random(0, c.num_spec) or nil
  c.cost = { tokens_within = function(seconds, rows) return math.max(seconds, 0) * 4 + rows end }
  return c
end

local function requests_of(c)
  local list = play.requests(c, random(10, 45))
  for _, request in ipairs(list) do
    request.ttft = random() < 0.3 and random(1, 40) or nil
    request.tpot = random() < 0.3 and random(1, 9) or nil
    request.deadline = random() < 0.2 and request.start + random(1, 60) or nil
  end
  return list
end

local function run(seed, is_scarce)
  math.randomseed(seed)
  local sum = 7
  local function note(value) sum = texts.sum(sum, value) end
  local c = configuration(is_scarce)
  c.admit_after_preemption = seed % 3 == 0
  local policy, kind = policies.draw(note)
  local engine, emitted, held = play.engine(c, policy), 0, 0
  if seed % 3 > 0 then other_numbers(engine, seed % 7 + 1) end
  local opts = { engine = engine, requests = requests_of(c), where = "seed " .. seed, kernel = NO_KERNEL,
                 cancel = pick { 0, 0.03 } }
  function opts.on_step(step)
    note(texts.step(step, engine))
    held = held + engine.stats.held
  end
  function opts.on_complete(step)
    note(texts.done(step))
    for row = 0, step.num_rows - 1 do emitted = emitted + step.emitted[row] end
  end
  function opts.on_cancel(id) note("cancel " .. id) end
  local _, now = play.run(c, opts)
  note(now)
  note(texts.numbers(engine.stats))
  for _, failure in ipairs(engine:failures()) do
    note(("%d %s %s %s"):format(failure.step, failure.hook, failure.message, tostring(failure.request)))
  end
  local s = engine.stats
  engine:close()
  return ("%3d %s, %s%s: %d steps, %d tokens, %d preempted, %d rejected, %d held, %d failures: %08x"):format(
    seed, kind, c.align and "align" or "none", c.async and " async" or "", s.steps, emitted, s.preemptions,
    s.rejected, held, s.failures, sum)
end

describe("Decisions #lua", function()
  it("of policies of every make are those that they were", function()
    local lines = {}
    for seed = 1, CASES do lines[seed] = run(seed, false) end
    for _, seed in ipairs(SCARCE) do lines[#lines + 1] = run(seed, true) end
    golden("decisions", table.concat(lines, "\n") .. "\n")
  end)
  teardown(function() math.randomseed(os.time()) end)
end)
