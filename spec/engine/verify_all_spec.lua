-- engine:verify() of engines in the middle of plays, in which every count is one off, one after the other:
-- its words, against a checksum of spec/goldens/texts.
local cache_chaos = require "spec.support.cache_chaos"
local drawer = require "spec.support.drawer"
local each_break = require "spec.support.each_break"
local golden = require "spec.support.golden"
local host_moves = require "spec.support.host_moves"
local serve = require "spec.support.run_engine"
local texts = require "spec.support.step_texts"

local PLAYS, STEPS, APART = 6, 40, 12

-- Every row of its tables is in use now and then.
local function engine_of(case)
  local align, async, spec = case % 2 == 1, case % 4 > 1, case % 3
  local b = { num_groups = 2, num_speculative_tokens = spec, num_slots = 36 + 8 * spec, checkpoint_any = true,
              mamba_cache_mode = align and "align" or "none", mamba_block_size = align and 4 or nil,
              max_blocks_per_row = align and 32 + spec or spec + 2, max_requests = 4 }
  local e = { hash_block_size = 4, max_model_len = 100, async = async, kv_blocks = case > 2 and 70 or nil,
              kv_block_size = 4, host_slots = case % 5 > 1 and 6 or 0, cache = "every_block" }
  if async then e.second_builder = serve.builder(b) end
  return serve.engine("fcfs", e, b), async, spec
end

local function play(case)
  math.randomseed(case) -- policies are drawn with it
  local engine, async, spec = engine_of(case)
  local sum, n = 7, 0
  local function note(value) sum, n = texts.sum(sum, value), n + (value ~= true and 1 or 0) end
  local function look(step)
    if step.number % APART == case % 3 then each_break.all(engine, note) end
  end
  cache_chaos.play(engine, { draw = drawer(48271 * case + 3), async = async, spec = spec, size = 4,
                             has_host = (case % 5) > 1, note = function() end, where = "play " .. case,
                             steps = STEPS, more = host_moves, on_step = look, on_done = look })
  engine:close()
  return ("%d: %d found: %.0f"):format(case, n, sum)
end

-- So many engines are sooner done than compiled.
describe("engine:verify", function()
  setup(jit.off)
  teardown(function()
    jit.on()
    math.randomseed(os.time())
  end)

  it("counts everything", function()
    local lines = {}
    for case = 1, PLAYS do lines[case] = play(case) end
    golden("verify-all", table.concat(lines, "\n") .. "\n")
  end)
end)
