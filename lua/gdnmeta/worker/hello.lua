-- What a worker is made for: from an engine, and to a builder that builds the same.
local ffi = require "ffi"
local lib = require "gdnmeta.worker.native"
local builder_options = require "gdnmeta.builder.options"
local schema = require "gdnmeta.native.schema"

local hello_t = ffi.typeof "gdn_hello"

local M = {}

--- The hello of an engine's workers.
---@param e table private of an engine
---@param given table seed, vocab_size
---@return ffi.cdata* gdn_hello
function M.of(e, given)
  local hello = hello_t()
  lib.gdn_hello_init(e.builder.handle, hello)
  hello.seed, hello.vocab_size = given.seed, given.vocab_size
  hello.max_model_len, hello.asynchronous = e.token_limits.max_model_len, e.async and 1 or 0
  if e.kv_blocks then
    hello.kv_blocks, hello.kv_block_size = e.options.kv_blocks, e.options.kv_block_size
    hello.kv_columns = e.kv_blocks.columns
  end
  return hello
end

--- Options of a builder that builds what the engine's builder builds.
---@param hello ffi.cdata* gdn_hello
---@param device string
---@return table options of gdn.builder
function M.options(hello, device)
  local config, options = hello.config, { num_slots = {} }
  for _, option in ipairs(schema.options) do
    local value = builder_options.given(config, option)
    if not (option.kind == "OR_NONE" and value == 0) then options[option.name] = value end
  end
  for group = 0, config.num_groups - 1 do options.num_slots[group + 1] = config.num_slots[group] end
  options.device = device
  return options
end

return M
