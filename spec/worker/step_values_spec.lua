-- Every number of a step record in turn, at the ends of what it may be and past them: which are packed under
-- an engine's limits and under none, and what is said of the others, against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local records = require "spec.support.step_records"

local int32s = gdn.array_of "int32_t"
local notes = noted.new "records-"
local MOST, LEAST = 2 ^ 31 - 1, -2 ^ 31
local ROWS, GROUPS, COLUMNS = 3, 2, 3

local INTS = { LEAST, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 31, 32, 39, 40, 63, 64, 65, 257, 258,
               259, 999, 1000, MOST }
local FLOATS = { -1 / 0, -1, -1e-30, 0, 1e-30, 0.5, 1, 1 + 2 ^ -23, 2, 1e6, 1e6 + 0.0625, 1 / 0, 0 / 0 }
local SCALARS = { "kind", "graph", "branches", "num_rows", "padded_rows", "num_tokens", "padded_tokens",
                  "num_groups", "columns", "num_table_changes", "num_kv_copies", "num_bring" }
-- { name, elements that are changed, values }
local ARRAYS = {
  { "request", ROWS, { -2 ^ 53, -1, 0, 1, 2 ^ 53 } },
  { "temperature", ROWS, FLOATS }, { "top_p", ROWS, FLOATS },
  { "slots", GROUPS * ROWS * COLUMNS, INTS }, { "read_slots", GROUPS * ROWS, INTS }, { "tokens", 24, INTS },
  { "table_changes", 6, INTS }, { "kv_copies", 2, INTS },
}
for _, name in ipairs { "query_len", "seq_len", "drafts", "accepted_tokens", "prompt_done", "table_row",
                        "read_column", "checkpoint_len", "samples" } do
  ARRAYS[#ARRAYS + 1] = { name, ROWS, INTS }
end

-- A step of three rows: with drafts, a decode and a chunk.
local function sample()
  local builder = records.builder()
  local limits, batch = records.full_hello(builder), assert(builder:batch())
  assert(batch:push(0, 3, 13, true, 2, 2))
  assert(batch:push(1, 1, 9, true))
  assert(batch:push(2, 20, 20, false))
  for group = 0, 1 do
    for row = 0, 2 do builder:set_blocks(group, row, { 3 * row + 1, 3 * row + 2, 3 * row + 3 }) end
  end
  local held = { int32s(3, { 1, 1, 0 }), int32s(6, { 0, 2, 9, 1, 7, 31 }), int32s(2, { 4, 5 }) }
  local rest, more = records.rest({ num_rows = 3, num_tokens = 24, number = 77, graph = "full",
                                    samples = held[1] },
    { table_changes = held[2], num_table_changes = 2, branches = 7, kv_copies = held[3], num_kv_copies = 1 })
  local memory = records.memory(8192)
  local bytes = lib.gdn_step_pack_batch(builder.handle, batch.rows, rest, limits, memory, 8192,
    records.why, 512)
  assert(bytes > 0 and more, records.said())
  return builder, limits, assert(records.unpack(memory, tonumber(bytes), limits)), memory
end

describe("A step record's numbers", function()
  it("are taken and refused", function()
    local builder, limits, step, memory = sample()
    local out = records.memory(8192)
    for _, of in ipairs { "an engine", "any" } do
      local hello = of == "an engine" and limits or nil
      local function try(name, values, set)
        local lists, order = {}, {}
        for _, value in ipairs(values) do
          set(value)
          local verdict = records.verdict(lib.gdn_step_pack(step, hello, out, 8192, records.why, 512))
          local shown = (value % 1 == 0 and "%.0f" or "%.9g"):format(value):gsub("-nan", "nan")
          local given = " = " .. shown:gsub("%p", "%%%0") .. "([, ])"
          verdict = verdict:gsub("-nan", "nan"):gsub(given, " = THIS%1", 1)
          if not lists[verdict] then order[#order + 1] = verdict end
          lists[verdict] = (lists[verdict] or "|") .. " " .. shown
        end
        for _, verdict in ipairs(order) do notes.note(of, name, verdict, lists[verdict]) end
      end
      for _, name in ipairs(SCALARS) do
        local was = step[name]
        -- More than there is would be read.
        local values = {}
        for _, value in ipairs(INTS) do
          if not name:find "^num_" and name ~= "columns" or value <= was or hello and value > 64 then
            values[#values + 1] = value
          end
        end
        try(name, values, function(value) step[name] = value end)
        step[name] = was
      end
      local number = step.number
      try("number", { -1, 0, 1, 2 ^ 53, 2 ^ 53 + 2 }, function(value) step.number = value end)
      step.number = number
      for _, array in ipairs(ARRAYS) do
        local name, n, values = unpack(array)
        local kind = values == FLOATS and "float *" or name == "request" and "int64_t *" or "int32_t *"
        local elements = ffi.cast(kind, step[name])
        for at = 0, n - 1 do
          local was = elements[at]
          if at < 4 or at >= n - 2 then
            try(("%s[%d]"):format(name, at), values, function(value) elements[at] = value end)
          end
          elements[at] = was
        end
      end
    end
    assert(memory)
    builder:close()
    notes.check "step-values"
  end)
end)
