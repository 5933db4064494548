-- Plays traffic through an engine with reference layers in the kernels' place.
local chaos = require "spec.support.chaos"
local layer_kernel = require "spec.support.layer_kernel"
local play = require "spec.support.play"
local shadow = require "spec.support.shadow"

local M = {}

M.SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

function M.first_seed() return tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24 end

local function draw(n) return math.random(n) end

--- A shipped policy, or one that misbehaves.
function M.any_policy()
  local n = math.random(#M.SHIPPED + 2)
  return M.SHIPPED[n] or n == #M.SHIPPED + 1 and chaos.hooks(draw) or chaos.step(draw)
end

--- Play a configuration to its end with a layer in the kernels' place. opts: layer_kernel's, or a function of
--- c and the engine that returns them; requests, cancel, checkpoints.
---@return boolean ok, any message, table stats the engine's, and `cached`: requests from a checkpoint
function M.run(c, where, policy, opts)
  local engine = play.engine(c, policy)
  if type(opts) == "function" then opts = opts(c, engine) end
  opts = opts or {}
  local kernel, cached = layer_kernel.new(engine, c.max_model_len + c.num_spec, opts), 0
  local ok, message = pcall(play.run, c, {
    engine = engine, where = where, kernel = kernel, checkpoints = opts.checkpoints,
    cancel = opts.cancel or math.random() < 0.5 and 0.05 or 0,
    requests = opts.requests or play.requests(c, math.random(1, 20)),
    on_submit = function(request) cached = cached + (request.checkpoint and 1 or 0) end,
    on_complete = function(step) kernel:check_states(step, where) end,
  })
  local stats = engine.stats
  stats.cached = cached
  engine:close()
  engine.builder:close()
  return ok, message, stats
end

--- Texts and steps with room for rows of several chunks.
function M.lengthen(c)
  c.max_model_len, c.budget = c.max_model_len + 150, c.budget + 150
  c.kv_tokens = c.kv_tokens and c.kv_tokens + 150
end

--- Random configurations: body(c, where) for each.
function M.each_case(cases, body)
  local seed = M.first_seed()
  for case = seed, seed + cases - 1 do
    math.randomseed(case)
    local c = play.configuration()
    c.breaker, c.policy_budget = 1e6, 5000
    c.pad_slot_id, c.query_start_loc_dtype = -math.random(0, 1), math.random(2) == 1 and "int64" or nil
    if math.random(3) == 1 then M.lengthen(c) end
    body(c, ("GDN_SEED=%d"):format(case))
  end
end

--- Options for upstream's rules, which describe the same steps to the same layer: it then reads column 0, or
--- that of the last token accepted. Mode none: in align, upstream's runner copies states between steps.
--- seen gets the situation that the play comes upon, and its step.
function M.upstream(rules, seen)
  return function(c, engine)
    local builder = shadow.builder(c, rules)
    return { checkpoints = false, metadata = function(step, rows)
      local situation = shadow.situation(rows, rules)
      if situation then seen.situation, seen.step = situation, step.number end
      return shadow.build(builder, step, engine)
    end }
  end
end

return M
