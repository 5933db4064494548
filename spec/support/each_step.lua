-- Random steps of random builders, on the CPU and over the specs' driver, under every rule set and in every
-- mode of captured graphs: for properties that hold after any build.
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local feed = require "spec.support.submit_paths"
local random = require "spec.support.random_config"
local steps = require "spec.support.random_step"
local until_met = require "spec.support.until_met"
local vectors = require "spec.support.vectors"

local M = {}

M.RULES = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" }
M.DEVICES = { "cpu", "cuda" }

local PER_BUILDER = 25

local function options_of(rand, rules, device, graphs)
  local config = random.config(rand, rules)
  config.full_cuda_graph = graphs
  config.pad_slot_id = random.chance(rand, 30) and -1 or 0
  config.query_start_loc_dtype = random.chance(rand, 30) and "int64" or "int32"
  local options = vectors.without_nulls(config)
  options.rules, options.device = rules, device
  return options, config
end

--- body(builder, config, met, rand, inputs) after each build that succeeds. graphs: full_cuda_graph of the
--- builders; prepare(builder, config): once for each of them; wanted: what is to be met, as until_met has it,
--- beside builds of a quarter of the steps.
function M.run(seed, cases, device, rules, graphs, prepare, body, wanted)
  local rand, all = random.rng(seed), { builds = cases / 4 }
  for kind, least in pairs(wanted or {}) do all[kind] = least end
  local driver = device == "cuda" and drivers.open "fake"
  local builder, batch, config, options
  local function close()
    if not builder then return end
    batch:close()
    builder:close()
  end
  local function step(case, met)
    if case % PER_BUILDER == 1 then
      close()
      options, config = options_of(rand, rules, device, graphs)
      builder = assert(gdn.builder(options))
      batch = assert(builder:batch())
      prepare(builder, config)
    end
    local inputs, path, rows = steps.draw(rand, rules, config)
    if graphs == "mixed" and (path == "raw" or inputs.capture) then
      path, inputs.capture = feed.plain(rows) and "add" or "write", nil
    end
    local raised, meta = pcall(feed.paths[path], builder, batch, inputs, rows)
    if not raised or not meta then return end
    met.builds = met.builds + 1
    body(builder, config, met, rand, inputs)
  end
  until_met(1, cases, all, function(case, met)
    local ok, reason = pcall(step, case, met)
    if not ok then
      error(("GDN_SEED=%d case %d (%s, %s, full_cuda_graph = %s): %s"):format(seed, case, device, rules,
        tostring(graphs), tostring(reason)), 0)
    end
  end, 4000)
  close()
  if driver then driver:close() end
end

return M
