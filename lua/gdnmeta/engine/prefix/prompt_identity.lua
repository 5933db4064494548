-- What a request's text is for the state cache: ids of its full blocks, of the prompt and of what is said
-- later. And which engines can have that cache.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local identity = require "gdnmeta.identity"
local int32_memory = require "gdnmeta.native.int32_memory"
local array_of = require "gdnmeta.array_of"

local floor, max, min = math.floor, math.max, math.min
local ids_t, int32s = array_of "int64_t", array_of "int32_t"

-- Blocks of attention cache in one of identity, see kv_per_block of gdn_index_config.
local MOST_KV_BLOCKS = 1024

local M = {}

-- Elements of a list of tokens, and their memory if it is an array or a pointer with its length.
local function count_of(tokens)
  local pointer, n = int32_memory.int32("tokens", tokens)
  return pointer and n or args.length(tokens), pointer
end

--- Ids of the full blocks of a prompt: `blocks` as they are, or made of `tokens`.
---@param request table of engine:submit
---@param size integer tokens of a block
---@return ffi.cdata*|nil ids, integer|string n or the problem
function M.read(request, size)
  local given, most = request.blocks, floor(request.prompt_tokens / size)
  local problem = identity.salt_problem(request.salt)
  if problem then return nil, problem end
  if request.tokens then
    if given then return nil, "blocks and tokens, want one of them" end
    local ok, list = pcall(identity.hash_blocks, request.tokens, size, request.salt)
    if not ok then return nil, (tostring(list):gsub("^.-gdnmeta%.hash_blocks: ", "")) end
    local n = count_of(request.tokens)
    if n ~= request.prompt_tokens then
      return nil, ("tokens has %d elements, want prompt_tokens = %d"):format(n, request.prompt_tokens)
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

--- What has to be known of a prompt so that more may follow: the tokens after its last full block.
--- { tokens = int32 [size] of the block that is being filled, or false: ids are given; n = how many stand
--- there; at = tokens of the text that are known; salt; ids = elements that the array of ids has }
---@return table text
function M.text(request, size)
  local salt = request.salt ~= nil and identity.salt(request.salt) or false
  local text = { tokens = false, n = 0, at = 0, salt = salt, ids = request.num_ids }
  if not request.tokens then return text end
  local n, pointer = count_of(request.tokens)
  text.tokens, text.at, text.salt = int32s(size), n, text.salt or 0
  for k = request.num_ids * size, n - 1 do
    text.tokens[text.n] = pointer and pointer[k] or rawget(request.tokens, k + 1)
    text.n = text.n + 1
  end
  return text
end

-- One place more for an id, in memory of the request's own. A row that fills the block may leave its state.
local function place(r, i, text, size)
  local n, ids = r.num_ids[i], r.ids[i]
  if n >= text.ids then
    text.ids = max(2 * n, 8)
    r.ids[i] = ids_t(text.ids)
    ffi.copy(r.ids[i], ids, 8 * n)
  end
  r.num_ids[i], r.cross_at[i] = n + 1, min(r.cross_at[i], (n + 1) * size)
  return n
end

--- Request `other` has the same text as i, in blocks of `size` tokens.
function M.copy(r, i, other, size)
  local text = r.text[i]
  if not text then return end
  local like = {}
  for name, value in pairs(text) do like[name] = value end
  if text.tokens then
    like.tokens = int32s(size)
    ffi.copy(like.tokens, text.tokens, 4 * text.n)
  end
  like.ids = r.num_ids[i] -- the array is that of i: the next id has another
  r.text[other], r.ids[other], r.num_ids[other] = like, r.ids[i], r.num_ids[i]
end

--- Ids of the next blocks of request i, as the host has them.
function M.add_ids(r, i, size, ids, n)
  local text = r.text[i]
  for k = 0, n - 1 do
    local at = place(r, i, text, size)
    r.ids[i][at] = ids[k]
    if text.salt then
      lib.gdn_hash_chain(r.ids[i] + at, 1, text.salt, at > 0 and r.ids[i][at - 1] or -1, r.ids[i] + at)
    end
  end
end

--- The next n tokens of request i. Nothing follows where some of its text was not said.
function M.add_tokens(r, i, size, tokens, n)
  local text = r.text[i]
  if not text.tokens or text.at ~= r.known[i] then return end
  text.at = text.at + n
  for k = 0, n - 1 do
    text.tokens[text.n] = tokens[k]
    text.n = text.n + 1
    if text.n == size then
      local at = place(r, i, text, size)
      local ids = r.ids[i]
      lib.gdn_hash_blocks(text.tokens, size, size, text.salt, at > 0 and ids[at - 1] or -1, ids + at)
      text.n = 0
    end
  end
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
  elseif o.kv_blocks and size > MOST_KV_BLOCKS * o.kv_block_size then
    return ("hash_block_size = %d, want at most %d times kv_block_size = %d"):format(size, MOST_KV_BLOCKS,
      o.kv_block_size)
  elseif not o.chunked_prefill then
    return "hash_block_size wants chunked_prefill"
  elseif c.mamba_cache_mode == lib.GDN_CACHE_NONE and c.max_blocks_per_row < c.num_speculative_tokens + 2 then
    return ("hash_block_size wants a free column of the state tables: max_blocks_per_row = %d, want at least "
            .. "%d"):format(c.max_blocks_per_row, c.num_speculative_tokens + 2)
  end
end

return M
