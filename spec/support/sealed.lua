-- Heads of records, written and sealed anew: what a peer could send that lies, and knows how.
local ffi = require "ffi"

local bxor, rshift = bit.bxor, bit.rshift
local FACTOR = 0x9e3779b97f4a7c15ULL
local HEAD, SUM_AT = 128, 120 -- bytes

local M = {}

--- Where fields of a head lie: { C's type, byte }.
M.PLACES = { magic = { "uint32_t", 0 }, version = { "uint32_t", 4 }, bytes = { "int64_t", 8 },
             number = { "int64_t", 16 }, kind = { "int32_t", 24 }, abi = { "int32_t", 28 } }

local function stir(sum, word)
  sum = bxor(sum, word) * FACTOR
  return bxor(sum, rshift(sum, 29))
end

local function sum_words(sum, at, words)
  local sums = { sum, bit.bnot(sum), sum + 1, bit.bnot(sum) + 1 }
  local k = 0
  while words - k >= 4 do
    for i = 1, 4 do sums[i] = stir(sums[i], at[k + i - 1]) end
    k = k + 4
  end
  for rest = k, words - 1 do sums[1] = stir(sums[1], at[rest]) end
  for i = 1, 4 do sum = stir(sum, sums[i]) end
  return sum
end

--- Give a record the checksum that it should have.
function M.seal(record)
  local words = ffi.cast("uint64_t *", record)
  local all = tonumber(words[1] / 8)
  local sum = sum_words(words[1] / 8, words, SUM_AT / 8)
  words[SUM_AT / 8] = sum_words(sum, words + HEAD / 8, all - HEAD / 8)
end

--- Put a value into the head, or at a byte after it, and seal it.
---@param record ffi.cdata*
---@param place string|integer a name of PLACES, or which of the kind's own fields
---@param value integer
function M.lie(record, place, value)
  local where = M.PLACES[place] or { "int32_t", 32 + 4 * place }
  ffi.cast(where[1] .. " *", ffi.cast("char *", record) + where[2])[0] = value
  M.seal(record)
end

return M
