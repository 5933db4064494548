-- Plays traffic through an engine with reference layers in the kernels' place.
local layer_kernel = require "spec.support.layer_kernel"
local play = require "spec.support.random_traffic"
local shadow = require "spec.support.vllm_states"
local until_met = require "spec.support.until_met"

local random = math.random

local M = {}

M.SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

-- Every play has an engine and layers of its own, and so traces of its own: with LuaJIT's usual room they
-- would be thrown away all the time, which now and then ends in no code at all, fifty times slower.
function M.more_traces() jit.opt.start("maxtrace=20000", "maxmcode=32768") end

function M.usual_traces()
  jit.opt.start("maxtrace=1000", "maxmcode=512")
  jit.flush()
end

function M.first_seed() return tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24 end

-- Schedules that no policy of sense would make.
local function hooks()
  return { decode_first = random(2) == 1, key = function() return random() end,
           chunk = function(_, want) return random(want) end, drafts = function(_, k) return random(0, k) end,
           victim = function() return random() end }
end

local function at_random(view, plan)
  for i in view:running() do
    local n = random(12)
    if n <= 2 then
      plan:skip(i)
    elseif n == 3 then
      plan:preempt(i)
    elseif n <= 6 then
      plan:take(i, random(20))
    end
  end
  plan:fill()
end

--- A shipped policy, or one that decides at random.
function M.any_policy()
  local n = random(#M.SHIPPED + 2)
  return M.SHIPPED[n] or n == #M.SHIPPED + 1 and hooks() or at_random
end

--- Play a configuration to its end with a layer in the kernels' place. opts: layer_kernel's, or a function of
--- c and the engine that returns them; requests, cancel, checkpoints.
---@return boolean ok, any message, table stats the engine's, and `cached`: requests from a checkpoint
function M.run(c, where, policy, opts)
  local engine = play.engine(c, policy)
  if type(opts) == "function" then opts = opts(c, engine) end
  opts = opts or {}
  local kernel, cached = layer_kernel.new(engine, c.max_model_len + c.num_spec, opts), 0
  local ok, books = pcall(play.run, c, {
    engine = engine, where = where, kernel = kernel, checkpoints = opts.checkpoints,
    forks = opts.forks, lose = opts.lose, keeps = opts.keeps,
    cancel = opts.cancel or random() < 0.5 and 0.05 or 0,
    requests = opts.requests or play.requests(c, random(1, 20)),
    on_submit = function(request) cached = cached + (request.checkpoint and 1 or 0) end,
    on_complete = function(step) kernel:check_states(step, where) end,
  })
  local stats, message = engine.stats, not ok and books or nil
  stats.cached, stats.branches = cached, ok and books.branches
  engine:close()
  engine.builder:close()
  return ok, message, stats
end

--- Texts and steps with room for rows of several chunks.
function M.lengthen(c)
  c.max_model_len, c.budget = c.max_model_len + 150, c.budget + 150
  c.kv_tokens = c.kv_tokens and c.kv_tokens + 150
end

--- Random configurations, until what is wanted was met: body(c, where, met) for each, as until_met has it.
function M.until_met(cases, wanted, body)
  return until_met(M.first_seed(), cases, wanted, function(case, met)
    math.randomseed(case)
    local c = play.configuration()
    c.breaker = 1e6 -- what cannot be scheduled so is a failure, and a step of the fallback
    c.pad_slot_id, c.query_start_loc_dtype = -random(0, 1), random(2) == 1 and "int64" or nil
    if random(3) == 1 then M.lengthen(c) end
    body(c, ("GDN_SEED=%d"):format(case), met)
  end)
end

--- Random configurations: body(c, where) for each.
function M.each_case(cases, body) M.until_met(cases, {}, body) end

--- Random configurations, each played right: body(c, where) plays one and returns what M.run does. Sums of
--- the stats named come to more than 0.
function M.all_right(cases, names, body)
  local wanted = {}
  for _, name in ipairs(names) do wanted[name] = 1 end
  M.until_met(cases, wanted, function(c, where, met)
    local ok, message, stats = body(c, where)
    assert(ok, message)
    for _, name in ipairs(names) do met[name] = met[name] + stats[name] end
  end)
end

--- Options for upstream's rules, which describe the same steps to the same layer: it then reads column 0, or
--- that of the last token accepted. seen gets the situation that the play comes upon, and its step.
function M.upstream(rules, seen)
  return function(c, engine)
    local builder = shadow.builder(c, rules)
    return { metadata = function(step, rows)
      local situation = shadow.situation(rows, step, rules)
      if situation then seen.situation, seen.step = situation, step.number end
      return shadow.build(builder, step, engine)
    end }
  end
end

return M
