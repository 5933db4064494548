-- Step costs from what is known of a model and of a GPU, as a roofline: a step takes the larger of its
-- arithmetic and of the memory it moves, plus launches and the host. Nothing here was measured; kernels
-- that do not overlap take up to the sum of both (`overlap` of cost.lua).
--
--   linear layers   weights read once per step, 2 FLOP per parameter and token. A step of N tokens reads
--                   those experts of a mixture that any token uses: a share of 1 - (1 - active)^N of all
--   attention       decodes read keys and values of their context; prompts take 4 FLOP per pair of tokens,
--                   query head and element of it (compute-bound from chunks of a few dozen tokens on)
--   GDN layers      a row's state is read and written, one more is written for each draft
--   launches        a layer takes some time however small the step is
--   host            a time per step and per row, added, or hidden by the device if the host is a step ahead
-- Left out: collectives between GPUs, activations, the head, and what chunk kernels compute in the GDN
-- layers, about a hundredth of the linear layers' arithmetic.
local M = {}

-- NVIDIA's data sheet of the H100 (SXM5), dense: bytes per second, FLOP per second by bytes per weight; its
-- PCIe 5 has 128 GB/s, half of it each way.
M.H100 = { bandwidth = 3.35e12, link = 64e9, flops = { [1] = 1979e12, [2] = 989e12 } }

-- Shares of the data sheet that kernels reach. Assumed.
local READS, COMPUTES = 0.8, 0.4

-- What BLIS fitted on vLLM and an H100: seconds per layer, per step and per row.
local LAYER, STEP, ROW = 32e-6, 126e-6, 4e-6

local HEAD = 128 -- elements of a GDN layer's key and value heads
local ATTENTION_HEAD = 256
local CONV = 3 -- columns of a convolution's state

-- Bytes of a request's state in all layers, and of a token's attention cache on n GPUs.
local function state_bytes(m)
  return (m.layers - m.attention_layers)
    * (CONV * m.conv_dim * 2 + m.value_heads * HEAD * HEAD * m.state_bytes)
end

local function kv_bytes(m, n)
  local heads = math.max(m.kv_heads, n) -- fewer than GPUs: each has a copy
  return m.attention_layers * 2 * heads * ATTENTION_HEAD * 2
end

--- What a cache weighs: bytes of a state, and of a token's attention.
---@param m table model, as below
---@param n integer GPUs
---@return number state_bytes, number kv_bytes
function M.bytes(m, n) return state_bytes(m), kv_bytes(m, n) end

--- Bytes per second from the host to n GPUs, each with a link of its own and its share of a state.
---@param gpu table link
---@param n integer GPUs
---@return number
function M.link(gpu, n) return n * READS * gpu.link end

--- Coefficients of cost.lua, in milliseconds.
---@param m table model: layers, attention_layers, value_heads, conv_dim, state_bytes (of an element of the
--- state), query_heads, kv_heads, parameters, active (parameters a token uses), experts (share of the
--- routed ones that a token uses; nil: dense), weight_bytes (1 or 2)
---@param gpu table bandwidth, flops
---@param n integer GPUs that share each layer
---@return table coefficients
function M.coefficients(m, gpu, n)
  local read = 1000 / (n * READS * gpu.bandwidth) -- ms a byte
  local compute = 1000 / (n * COMPUTES * gpu.flops[m.weight_bytes]) -- ms a FLOP
  local pairs_compute = 1000 / (n * COMPUTES * gpu.flops[2]) -- attention is computed in 16 bits
  local routed = m.experts and (m.parameters - m.active) / (1 - m.experts) or 0
  local state, kv = state_bytes(m), kv_bytes(m, n)
  return {
    c0 = 1000 * LAYER * m.layers,
    c_w = (m.parameters - routed) * m.weight_bytes * read,
    c_experts = routed * m.weight_bytes * read, active = m.experts or 0,
    c_tok = 2 * m.active * compute,
    c_seq = 2 * state * read, c_state = state * read,
    c_ctx = kv * read,
    c_att = 4 * m.attention_layers * m.query_heads * ATTENTION_HEAD * pairs_compute,
    c_draft = m.parameters / m.layers * m.weight_bytes * read + 1000 * LAYER, -- a layer proposes it
    c_cpu = 1000 * STEP, c_cpu_row = 1000 * ROW,
    overlap = 1,
  }
end

return M
