-- Ways to break arguments of build_raw in one clause: inputs[name](rand, config, inputs) returns true
-- when it found something to break.
local parts = require "spec.support.oracle_parts"
local chances = require "spec.support.random_config"

local chance, pick = chances.chance, chances.pick

local M = { inputs = {} }

function M.inputs.num_reqs(rand, _, inputs)
  inputs.num_reqs = inputs.num_reqs + (inputs.num_reqs > 0 and chance(rand, 50) and -1 or 1)
  return true
end

function M.inputs.too_few_tokens(_, _, inputs)
  local loc = inputs.query_start_loc
  if loc[#loc] == 0 then return end
  inputs.num_actual_tokens = loc[#loc] - 1
  return true
end

function M.inputs.too_many_tokens(_, config, inputs)
  inputs.num_actual_tokens = config.max_num_batched_tokens + 1
  return true
end

function M.inputs.bad_boundaries(rand, _, inputs)
  local loc = inputs.query_start_loc
  if #loc < 3 or chance(rand, 30) then
    loc[1] = pick(rand, { -1, 1 })
  else
    local i = rand(2, #loc)
    loc[i] = loc[i - 1] - 1
  end
  return true
end

function M.inputs.too_many_rows(_, config, inputs)
  local loc, n = inputs.query_start_loc, config.max_rows + 1
  for i = #loc, n do
    loc[i + 1], inputs.seq_lens[i] = loc[i], 0
    if inputs.prompt_done then inputs.prompt_done[i] = false end
    for _, name in ipairs { "num_accepted_tokens", "num_decode_draft_tokens", "read_column" } do
      if inputs[name] then inputs[name][i] = -1 end
    end
    for _, rows in ipairs(parts.tables(config, inputs)) do
      rows[i] = {}
      for k = 1, inputs.block_table_cols do rows[i][k] = 0 end
    end
  end
  inputs.num_reqs = n
  return true
end

function M.inputs.array_length(rand, _, inputs)
  local names = { "seq_lens", "num_accepted_tokens", "num_decode_draft_tokens" }
  local list = inputs[pick(rand, names)]
  if not list then return end
  if #list > 0 and chance(rand, 50) then list[#list] = nil else list[#list + 1] = list[#list] or 1 end
  return true
end

function M.inputs.table_length(_, config, inputs)
  if inputs.num_reqs == 0 then return end
  for _, rows in ipairs(parts.tables(config, inputs)) do rows[#rows] = nil end
  return true
end

function M.inputs.narrow_table(_, config, inputs)
  local needs = config.num_speculative_tokens + 1
  if config.mamba_cache_mode == "align" then needs = 1 + config.num_speculative_blocks end
  if needs == 1 or inputs.num_reqs == 0 then return end
  inputs.block_table_cols = needs - 1
  for _, rows in ipairs(parts.tables(config, inputs)) do
    for _, row in ipairs(rows) do
      for k = #row, needs, -1 do row[k] = nil end
    end
  end
  return true
end

function M.inputs.accepted_missing(_, _, inputs)
  local drafts = inputs.num_decode_draft_tokens
  if not drafts or not inputs.num_accepted_tokens then return end
  for _, count in ipairs(drafts) do
    if count > 0 then inputs.num_accepted_tokens = nil return true end
  end
end

-- In a fixed order, so that a seed picks the same.
M.names = {}
for name in pairs(M.inputs) do M.names[#M.names + 1] = name end
table.sort(M.names)

return M
