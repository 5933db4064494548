-- What a prompt is for the state cache: ids of its full blocks. And which engines can have that cache.
local lib = require "gdnmeta.native"
local identity = require "gdnmeta.identity"
local array_of = require "gdnmeta.array_of"

local floor, max = math.floor, math.max
local ids_t = array_of "int64_t"

local M = {}

--- Ids of the full blocks of a prompt: `blocks` as they are, or made of `tokens`.
---@param request table of engine:submit
---@param size integer tokens of a block
---@return ffi.cdata*|nil ids, integer|string n or the problem
function M.read(request, size)
  local given, most = request.blocks, floor(request.prompt_tokens / size)
  if request.tokens then
    if given then return nil, "blocks and tokens, want one of them" end
    local ok, list = pcall(identity.hash_blocks, request.tokens, size, request.salt)
    if not ok then return nil, (tostring(list):gsub("^.-gdnmeta%.hash_blocks: ", "")) end
    if #list ~= most then
      return nil, ("tokens has %d full blocks, want the %d of prompt_tokens = %d"):format(#list, most,
                                                                                     request.prompt_tokens)
    end
    given = list
  end
  local ids = ids_t(max(most, 1))
  local n, message = identity.copy("blocks", given, ids, most)
  if not n then return nil, message end
  if n ~= most then
    return nil, ("blocks has %d elements, want %d, one for each full block of %d tokens"):format(n, most,
                                                                                               size)
  end
  if request.salt ~= nil and not request.tokens then
    local salted = identity.hash_chain(given, request.salt)
    identity.copy("blocks", salted, ids, most)
  end
  return ids, n
end

--- Rules between options.
---@return string|nil problem
function M.problem(o)
  local c, size = o.config, o.hash_block_size
  if not size then return nil end
  if c.mamba_cache_mode == lib.GDN_CACHE_ALIGN and size % c.mamba_block_size ~= 0 then
    return ("hash_block_size = %d, want a multiple of mamba_block_size = %d"):format(size, c.mamba_block_size)
  elseif o.kv_blocks and size % o.kv_block_size ~= 0 then
    return ("hash_block_size = %d, want a multiple of kv_block_size = %d"):format(size, o.kv_block_size)
  elseif not o.chunked_prefill then
    return "hash_block_size wants chunked_prefill"
  elseif c.mamba_cache_mode == lib.GDN_CACHE_NONE and c.max_blocks_per_row < c.num_speculative_tokens + 2 then
    return ("hash_block_size wants a free column of the state tables: max_blocks_per_row = %d, want at least "
            .. "%d"):format(c.max_blocks_per_row, c.num_speculative_tokens + 2)
  end
end

return M
