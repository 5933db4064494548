-- Named step costs to start from. None of them was measured here: every one says `uncalibrated`, and
-- stays so until `gdn.sim.fit` has been given a log of real steps. They rank policies; they do not
-- promise milliseconds.
--
-- The arithmetic behind the figures, one server and one GPU with 3.35 TB/s and 989 TFLOP/s (bf16):
--   c0     weights read once at 80 % of the bandwidth, 0.032 ms of launches a layer, 0.13 ms a step
--   c_pf   2 FLOP a parameter and token, at 40 % of the peak of the weights' type
--   c_seq  a row's GDN state read and written, 0.004 ms on the host; for a mixture of experts also
--          those that one more row makes the step read, on average up to 128 rows
local M = {}

M.DEFAULT = "h100-qwen3.6-27b-fp8"

M.list = {
  ["h100-qwen3.6-27b-fp8"] = {
    about = "one H100, Qwen3.6-27B dense, 64 layers, fp8 weights of 27 GB",
    coefficients = { c0 = 12.2, c_pf = 0.068, c_seq = 0.12 },
    kv_tokens = 300000, -- 64 KiB a token in 16 attention layers: 18.3 GiB beside 128 states of 147 MiB
    max_num_seqs = 128,
  },
  ["h100-qwen3.6-35b-a3b-fp8"] = {
    about = "one H100, Qwen3.6-35B-A3B, 40 layers, fp8 weights of 35 GB, 3 GB active",
    coefficients = { c0 = 2.5, c_pf = 0.0076, c_seq = 0.14 },
    kv_tokens = 600000,
    max_num_seqs = 256,
  },
  ["4xh100-qwen3-next-80b-a3b"] = {
    about = "four H100 side by side, Qwen3-Next-80B-A3B, 48 layers, bf16 weights of 160 GB, 6 GB active",
    coefficients = { c0 = 2.2, c_pf = 0.004, c_seq = 0.08 },
    kv_tokens = 1900000,
    max_num_seqs = 256,
  },
  ["constant-20ms"] = {
    about = "every step takes 20 ms: for closed forms and for conservation, not for latency",
    coefficients = { c0 = 20 },
    max_num_seqs = 256,
  },
}

M.names = {}
for name, preset in pairs(M.list) do
  preset.name, preset.calibrated = name, false
  M.names[#M.names + 1] = name
end
table.sort(M.names)

--- A preset by name.
---@param name string
---@return table|nil preset name, about, coefficients, calibrated = false, kv_tokens?, max_num_seqs
---@return string? message
function M.get(name)
  local preset = M.list[name]
  if preset then return preset end
  return nil, ("preset = %s, want one of %s"):format(tostring(name), table.concat(M.names, ", "))
end

return M
