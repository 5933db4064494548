-- What a device may have put into a step's index tensors, bad slots, counts and shifts, brings nothing, and
-- the last good ones bring what they say: each value in turn, and which slots hold what then, against
-- spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"

local bytes_of = gdn.array_of "uint8_t"
local S, SLOTS, LENGTH = 2, 16, 4
local MOST, LEAST = 2 ^ 31 - 1, -2 ^ 31
local notes = noted.new "bring-"
local note, check = notes.note, notes.check

-- A speculative row that reads slot 9 and writes 1, 2, 3; a decode that reads 10 and writes 4.
local function built(options)
  local o = { device = "cpu", max_num_seqs = 4, num_speculative_tokens = S, num_slots = SLOTS,
              max_blocks_per_row = 4, max_num_batched_tokens = 16 }
  for name, value in pairs(options or {}) do o[name] = value end
  local builder = assert(gdn.builder(o))
  local batch = builder:batch()
  batch:add { query_len = 3, seq_len = 20, drafts = 2, accepted = 2, prompt_done = true, read_column = 3,
              blocks = { 1, 2, 3, 9 } }
  batch:add { query_len = 1, seq_len = 20, prompt_done = true, blocks = { 4, 5, 6, 10 }, read_column = 3 }
  assert(builder:build(batch))
  return builder
end

-- Each slot holds its number, and in windows the place of each token: "4<10" where slot 4 has what 10 had.
local function pool_of(tokens)
  local pool = bytes_of(SLOTS * tokens)
  for slot = 0, SLOTS - 1 do
    for t = 0, tokens - 1 do pool[slot * tokens + t] = 16 * t + slot end
  end
  return pool
end
local function changes(pool, tokens)
  local list = {}
  for slot = 0, SLOTS - 1 do
    local now, is_same = {}, true
    for t = 0, tokens - 1 do
      local value = pool[slot * tokens + t]
      now[t + 1] = ("%d.%d"):format(value % 16, math.floor(value / 16))
      is_same = is_same and value == 16 * t + slot
    end
    if not is_same then list[#list + 1] = slot .. "<" .. table.concat(now, ",") end
  end
  return #list > 0 and table.concat(list, " ") or "nothing"
end

local WAYS = {}
for _, rows in ipairs { "accepted", "first", "leave" } do
  WAYS[#WAYS + 1] = { "states, " .. rows, 1, function(builder, pool)
    return builder:bring_states { pool = pool, slot_bytes = 1, spec_rows = rows }
  end }
  for _, where in ipairs { "first", "every" } do
    WAYS[#WAYS + 1] = { ("windows in %s, %s"):format(where, rows), LENGTH, function(builder, pool)
      return builder:bring_windows { pool = pool, channels = 1, length = LENGTH, element_bytes = 1,
                                     strides = { LENGTH, LENGTH, 1 }, spec_rows = rows, windows_in = where }
    end }
  end
end

local SLOT_VALUES = { LEAST, -1, 0, 1, 2, 9, SLOTS - 1, SLOTS, MOST }
local VALUES = {
  { "num_accepted_tokens", { LEAST, -1, 0, 1, 2, 3, 4, MOST } },
  { "spec_conv_shift", { LEAST, -1, 0, 1, LENGTH - 1, LENGTH, MOST } },
  { "non_spec_conv_shift", { LEAST, -1, 0, 1, LENGTH - 1, LENGTH, MOST } },
  { "spec_read_state_indices", SLOT_VALUES }, { "non_spec_read_state_indices", SLOT_VALUES },
  { "spec_state_indices_tensor", SLOT_VALUES }, { "non_spec_state_indices_tensor", SLOT_VALUES },
  { "spec_query_start_loc", { 0, 1, 2, 3 } },
}

describe("What is brought", function()
  before_each(notes.clear)
  for _, options in ipairs { {}, { query_start_loc_dtype = "int64" } } do
    it("of values that a device has left, " .. (options.query_start_loc_dtype or "int32"), function()
      local builder = built(options)
      local meta = lib.gdn_builder_metadata(builder.handle)
      for _, way in ipairs(WAYS) do
        local function try(name, at, value)
          local pool = pool_of(way[2])
          assert(way[3](builder, pool))
          note(way[1], name, at, ("%d"):format(value), changes(pool, way[2]))
        end
        try("nothing changed", 0, 0)
        for _, case in ipairs(VALUES) do
          local tensor = meta[case[1]]
          local is_wide = tensor.dtype == 1
          local data = ffi.cast(is_wide and "int64_t *" or "int32_t *", tensor.data)
          local n = case[1] == "spec_query_start_loc" and 2 or tonumber(tensor.shape[0] * tensor.shape[1])
          for at = case[1] == "spec_query_start_loc" and 1 or 0, n - 1 do
            local was = data[at]
            for _, value in ipairs(case[2]) do
              data[at] = value
              if value ~= was then try(case[1], at, value) end
            end
            data[at] = was
          end
        end
      end
      builder:close()
      check "garbage"
    end)
  end
end)
