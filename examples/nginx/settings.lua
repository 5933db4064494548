-- What can be set, by environment variables; serve lets each of them through to nginx's workers.
local M = {}

local function text(value) return value ~= "" and value or nil end

local function integer(low, high)
  return function(value)
    local n = tonumber(value)
    return n and n % 1 == 0 and n >= low and n <= high and n or nil
  end, ("an integer in %d .. %d"):format(low, high)
end

local function seconds()
  return function(value)
    local n = tonumber(value)
    return n and n >= 0.01 and n <= 3600 and n or nil
  end, "a number in 0.01 .. 3600"
end

-- The words of a command line, none of them quoted.
local function words(value)
  local list = {}
  for word in value:gmatch "%S+" do list[#list + 1] = word end
  return list[1] and list or nil
end

-- { default, parser, what is wanted }
local SETTINGS = {
  model = { "examples.tiny_model", text, "the name of a Lua module" },
  name = { nil, text, "what the model is called" },
  worker = { nil, words, "the command line of a worker" }, -- in its place a model in Lua runs in this process
  tokenizer = { nil, words, "a command line" }, -- of a worker's model; without one, tokens are bytes
  socket = { "build/nginx/run/tokenizer.sock", text, "a path" }, -- where the tokenizer listens
  worker_start = { 600, seconds() }, -- until a process has answered
  worker_deadline = { 60, seconds() }, -- without a result of a step, or a sign of life
  worker_losses = { 2, integer(0, 100) }, -- deaths of a worker that a request survives; 0: it fails with 503
  kv_blocks = { 0, integer(0, 2 ^ 24) }, -- of the attention cache, which the worker's model has; 0: none
  kv_block_size = { 16, integer(1, 65536) }, -- tokens
  graphs = { 0, integer(0, 1) }, -- 1: steps are padded to buckets, for captured graphs
  seed = { 7, integer(0, 2 ^ 31 - 1) },
  policy = { "examples/nginx/policy.lua", text, "a policy's path, or the name of a shipped one" },
  policy_seconds = { 1, seconds() }, -- between two looks at the files of the policy and the cache
  cache = { "turns_by_tokens", text, "a cache's path, or the name of a shipped one" },
  cache_states = { 256, integer(0, 2 ^ 20) }, -- that are kept for prompts that begin alike; 0: no cache
  cache_block = { 16, integer(1, 65536) }, -- tokens: states lie at multiples of it
  max_num_seqs = { 16, integer(1, 1024) }, -- that run at once
  max_num_batched_tokens = { 256, integer(1, 65536) }, -- tokens per step
  num_speculative_tokens = { 3, integer(0, 64) }, -- most drafts per request and step
  max_model_len = { 4096, integer(2, 2 ^ 20) }, -- prompt and answer, in tokens
  max_waiting = { 64, integer(1, 65536) }, -- requests in the queue; the next one is answered 429
  timeout = { 60, seconds() }, -- without a new token; then a request fails
  queue_timeout = { 600, seconds() }, -- until a stream begins; while it waits it is not given up otherwise
  keep_alive = { 1, seconds() }, -- between two signs of life in a stream without tokens
}

--- Every setting; raises on a value that it cannot have.
---@return table
function M.read()
  local settings = {}
  for name, setting in pairs(SETTINGS) do
    local variable = "SERVE_" .. name:upper()
    local value = os.getenv(variable)
    if value == nil or value == "" and setting[1] == nil then
      settings[name] = setting[1]
    else
      settings[name] = setting[2](value)
      if settings[name] == nil then error(("%s = %q, want %s"):format(variable, value, setting[3]), 0) end
    end
  end
  settings.name = settings.name or settings.model
  return settings
end

return M
