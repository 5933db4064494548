--- Ids of prompts for the prefix cache: numbers below 2^53, each for all tokens up to the end of a block.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local c_buffers = require "gdnmeta.native.c_buffers"
local int32_memory = require "gdnmeta.native.int32_memory"

local int64_p = ffi.typeof "int64_t *"
local MAX_SIZE, MOST = 2 ^ 20, 2 ^ 53

local M = {}

local function is_id(value)
  return type(value) == "number" and value >= 0 and value < MOST and value % 1 == 0
end

local function id_of(value)
  if type(value) == "string" then return tonumber(lib.gdn_hash_bytes(value, #value, 0)) end
  return is_id(value) and value or nil
end

local function wrong_id(name, value)
  return args.wrong(name, value, "an integer in 0 .. 2^53 - 1 or a string")
end

--- Ids as C wants them: integers below 2^53 as they are, strings hashed to such.
---@param name string for messages
---@param list table
---@param target ffi.cdata* int64 memory
---@param room integer its elements
---@return integer|nil n, string? message
function M.copy(name, list, target, room)
  if type(list) ~= "table" then return nil, args.wrong(name, list, "a list") end
  local n = args.length(list)
  if n > room then return nil, ("%s has %d elements, want at most %d"):format(name, n, room) end
  for i = 1, n do
    local id = id_of(rawget(list, i))
    if not id then return nil, wrong_id(("%s[%d]"):format(name, i), rawget(list, i)) end
    target[i - 1] = id
  end
  return n
end

-- A salt, as C takes it. Absent: 0.
local function salt_of(call, salt)
  if args.absent(salt) then return 0 end
  return id_of(salt) or error("gdnmeta." .. call .. ": " .. wrong_id("salt", salt), 3)
end

--- What is wrong with a salt; nil: nothing.
---@return string|nil message
function M.salt_problem(salt)
  if not args.absent(salt) and not id_of(salt) then return wrong_id("salt", salt) end
end

--- The number that a salt is for C.
---@param salt any a string or an integer below 2^53
---@return integer
function M.salt(salt) return salt_of("hash_blocks", salt) end

local function as_list(memory, n)
  local out = {}
  for i = 1, n do out[i] = tonumber(memory[i - 1]) end
  return out
end

-- int32 tokens that C can read.
local function tokens_in(memory, tokens)
  local pointer, n = int32_memory.int32("tokens", tokens)
  if pointer then return pointer, n end
  if n then return nil, n end
  local length, message = args.list("tokens", tokens, args.INT32_MIN, args.INT32_MAX)
  if not length then return nil, message end
  local copy = memory:int32("tokens", length)
  args.copy("tokens", tokens, copy, 0, length)
  return copy, length
end

--- One id for each full block of `size` tokens; tokens after the last full block have none. Prompts that
--- start with the same tokens start with the same ids, under the same salt only.
---@param tokens table a list of int32, an int32_t array, or { pointer, elements }
---@param size integer tokens a block, 1 .. 2^20
---@param salt any a string or an integer below 2^53 that keeps tenants apart, or nil
---@param previous integer|nil the id of the block before these tokens: a prompt may be hashed piece by piece
---@return table ids
function M.hash_blocks(tokens, size, salt, previous)
  if not args.integer(size, 1, MAX_SIZE) then
    error("gdnmeta.hash_blocks: " .. args.wrong_integer("size", size, 1, MAX_SIZE), 2)
  elseif previous ~= nil and not is_id(previous) then
    error("gdnmeta.hash_blocks: " .. args.wrong("previous", previous, "an integer in 0 .. 2^53 - 1"), 2)
  end
  salt = salt_of("hash_blocks", salt)
  local memory = c_buffers.new()
  local pointer, n = tokens_in(memory, tokens)
  if not pointer then
    memory:close()
    error("gdnmeta.hash_blocks: " .. n, 2)
  end
  local blocks = math.floor(n / size)
  local out = ffi.cast(int64_p, memory:bytes("ids", 8 * blocks))
  lib.gdn_hash_blocks(pointer, n, size, salt, previous or -1, out)
  local list = as_list(out, blocks)
  memory:close()
  return list
end

--- Ids that stand for their block alone, made to cover what is before them.
---@param ids table a list of integers below 2^53 or strings
---@param salt any as for hash_blocks
---@return table ids
function M.hash_chain(ids, salt)
  salt = salt_of("hash_chain", salt)
  if type(ids) ~= "table" then error("gdnmeta.hash_chain: " .. args.wrong("ids", ids, "a list"), 2) end
  local memory, n = c_buffers.new(), args.length(ids)
  local out = ffi.cast(int64_p, memory:bytes("ids", 8 * n))
  local copied, message = M.copy("ids", ids, out, n)
  if copied then lib.gdn_hash_chain(out, n, salt, -1, out) end
  local list = copied and as_list(out, n)
  memory:close()
  return list or error("gdnmeta.hash_chain: " .. message, 2)
end

return M
