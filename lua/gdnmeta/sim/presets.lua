-- Named step costs to start from. None of them was measured here: every one is `uncalibrated`, until
-- `gdn.sim.fit` gets a log of real steps. They rank policies; they do not predict milliseconds.
-- roofline.lua has the arithmetic, and the sources of the other numbers.
--
-- Layers, heads and state types are those of the published model configurations; parameters, and the share of
-- the routed experts that a token uses, those of the model cards.
local args = require "gdnmeta.native.args"
local printed = require "gdnmeta.native.printed"
local roofline = require "gdnmeta.sim.roofline"

local M = {}

local PRESET = printed.figures("Preset", { "name", "about", "calibrated", "max_num_seqs", "kv_tokens" })

M.DEFAULT = "h100-qwen3.6-27b-fp8"

local DENSE_27B = {
  layers = 64, attention_layers = 16, value_heads = 48, conv_dim = 10240, state_bytes = 4,
  query_heads = 24, kv_heads = 4, parameters = 27e9, active = 27e9, weight_bytes = 1,
}

-- Query heads are taken to be those of Qwen3-Next.
local MOE_35B = {
  layers = 40, attention_layers = 10, value_heads = 32, conv_dim = 8192, state_bytes = 4,
  query_heads = 16, kv_heads = 2, parameters = 35e9, active = 3e9, experts = 8 / 256, weight_bytes = 1,
}

local NEXT_80B = {
  layers = 48, attention_layers = 12, value_heads = 32, conv_dim = 8192, state_bytes = 2,
  query_heads = 16, kv_heads = 2, parameters = 80e9, active = 3e9, experts = 10 / 512, weight_bytes = 2,
}

local function priced(model, gpus, about, kv_tokens, max_num_seqs)
  local state_bytes, kv_bytes = roofline.bytes(model, gpus)
  return { about = about, coefficients = roofline.coefficients(model, roofline.H100, gpus),
           link = roofline.link(roofline.H100, gpus), state_bytes = state_bytes, kv_bytes = kv_bytes,
           kv_tokens = kv_tokens, max_num_seqs = max_num_seqs }
end

M.list = {
  -- 64 KiB per token in 16 attention layers: 18.3 GiB, with 128 states of 147 MiB
  ["h100-qwen3.6-27b-fp8"] = priced(DENSE_27B, 1,
    "one H100, Qwen3.6-27B dense, 64 layers, fp8 weights of 27 GB", 300000, 128),
  ["h100-qwen3.6-35b-a3b-fp8"] = priced(MOE_35B, 1,
    "one H100, Qwen3.6-35B-A3B, 40 layers, fp8 weights of 35 GB, 3 GB active", 600000, 256),
  ["4xh100-qwen3-next-80b-a3b"] = priced(NEXT_80B, 4,
    "four H100 side by side, Qwen3-Next-80B-A3B, 48 layers, bf16 weights of 160 GB, 6 GB active",
    1900000, 256),
  ["constant-20ms"] = {
    about = "every step takes 20 ms: for closed forms and for conservation, not for latency",
    coefficients = { c0 = 20 },
    max_num_seqs = 256,
  },
}

M.names = {}
for name, preset in pairs(M.list) do
  preset.name, preset.calibrated = name, false
  setmetatable(preset, PRESET)
  M.names[#M.names + 1] = name
end
table.sort(M.names)

--- A preset by name.
---@param name string
---@return table|nil preset name, about, coefficients, calibrated = false, kv_tokens?, max_num_seqs,
--- state_bytes? (of a request), kv_bytes? (of a token) and link? (bytes per second from the host)
---@return string? message
function M.get(name)
  local preset = M.list[name]
  if preset then return preset end
  return nil, ("preset = %s, want one of %s"):format(args.word(name), table.concat(M.names, ", "))
end

return M
