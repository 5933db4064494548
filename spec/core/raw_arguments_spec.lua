-- Which gdn_raw the reference builder's arguments become: every number of it, arrays and tables by element,
-- or the message; against spec/goldens/texts.
local array_of = require "gdnmeta.array_of"
local ffi = require "ffi"
local in_order = require "spec.support.in_order"
local noted = require "spec.support.noted"
require "gdnmeta" -- declares gdn_raw
local vllm_arguments = require "gdnmeta.builder.vllm_arguments"

local int32s = array_of "int32_t"
local notes = noted.new "raw-"

local ARRAYS = { "query_start_loc", "seq_lens", "num_accepted_tokens", "num_decode_draft_tokens" }
local NUMBERS = { "num_reqs", "num_actual_tokens", "max_query_len", "block_table_rows", "block_table_cols",
                  "block_table_stride" }

local function elements(memory, n)
  if memory == nil then return "none" end
  local list = {}
  for i = 0, n - 1 do list[i + 1] = memory[i] end
  return "{" .. table.concat(list, ", ") .. "}"
end

local function numbers(raw)
  local words = {}
  for _, name in ipairs(NUMBERS) do words[#words + 1] = ("%s %d"):format(name, tonumber(raw[name])) end
  return table.concat(words, ", ")
end

local function arrays(raw)
  local words, rows = {}, raw.num_query_start_loc - 1
  for _, name in ipairs(ARRAYS) do
    local n = raw["num_" .. name]
    words[#words + 1] = ("%s %d %s"):format(name, n, elements(raw[name], n))
  end
  for _, name in ipairs { "prompt_done", "read_column" } do
    words[#words + 1] = name .. " " .. elements(raw[name], rows)
  end
  return table.concat(words, ", ")
end

-- The first block_table_cols elements of each row.
local function tables(raw, groups)
  if raw.block_tables == nil then return "no tables" end
  local words = {}
  for group = 0, groups - 1 do
    for row = 0, raw.block_table_rows - 1 do
      words[#words + 1] = elements(raw.block_tables[group] + row * raw.block_table_stride,
                                   raw.block_table_cols)
    end
    words[#words + 1] = "|"
  end
  return table.concat(words, " ")
end

describe("The reference builder's arguments #lua", function()
  before_each(notes.clear)

  -- What is not given of a step of two rows, of 2 and 3 tokens.
  local function try(title, groups, changes, show)
    local inputs = { query_start_loc = { 0, 2, 5 }, seq_lens = { 9, 3 } }
    for name, value in pairs(changes) do inputs[name] = value end
    local arguments = vllm_arguments.new(groups)
    local raw, message = arguments:fill(inputs)
    assert.is_true(raw == nil or raw.size == ffi.sizeof "gdn_raw")
    local bytes = 0
    for _, size in pairs(arguments.buffers.sizes) do bytes = bytes + size end
    notes.note(title .. ":", raw and ("%s, %d bytes"):format(show(raw, groups), bytes) or message)
    arguments:close()
    assert.are.same({ nil, nil }, { arguments.inputs, next(arguments.buffers.blocks) })
  end

  it("have these sizes if none are given, and else those", function()
    for _, starts in ipairs { { 0 }, { 0, 0 }, { 0, 1 }, { 0, 7, 8 }, { 0, 1, 9 }, { 3, 5, 6 }, { 0, 5, 2 },
                              { 0, 4, 6, 13, 14 }, { -2 ^ 31, 2 ^ 31 - 1 }, {} } do
      try(("{%s}"):format(table.concat(starts, " ")), 1, { query_start_loc = starts }, numbers)
    end
    for _, name in ipairs { "num_reqs", "num_actual_tokens", "max_query_len" } do
      for _, n in ipairs { -1, 0, 1, 50 } do
        try(("%s = %d"):format(name, n), 1, { [name] = n, query_start_loc = { 0, 4, 6 } }, numbers)
      end
    end
    notes.check "sizes"
  end)

  it("are lists, arrays or memory", function()
    try("two lists", 1, {}, arrays)
    local three = int32s(3, { 0, 4, 9 })
    try("an array", 1, { query_start_loc = three, seq_lens = int32s(2, { 7, 8 }) }, arrays)
    try("memory", 1, { query_start_loc = { three + 0, 2 }, seq_lens = { three, 1 } }, arrays)
    try("all", 1, { num_accepted_tokens = { 1, 2 }, num_decode_draft_tokens = { -1, 3 },
                    prompt_done = { true, false }, read_column = { 4, -2 } }, arrays)
    try("numbers", 1, { prompt_done = { 0, 1 }, read_column = int32s(2, { 0, 1 }) }, arrays)
    for _, name in ipairs { "prompt_done", "read_column" } do
      for n = 0, 3 do try(("%s of %d"):format(name, n), 1, { [name] = int32s(n) }, arrays) end
    end
    notes.check "arrays"
  end)

  local function show(raw, groups)
    return numbers(raw):match "block_table_rows.*" .. ": " .. tables(raw, groups)
  end

  it("are tables as lists of rows", function()
    local pair = int32s(2, { 3, 4 })
    for title, value in in_order {
      none = {}, ["empty rows"] = { {}, {} }, ["one row"] = { { 1, 2, 3 } }, rows = { { 1, 2 }, { 3, 4 } },
      uneven = { { 1, 2 }, { 3 } }, arrays = { pair, pair }, memory = { { pair + 0, 2 }, { 5, 6 } },
      ["longer memory"] = { { 5, 6 }, int32s(3) }, ["shorter memory"] = { { pair + 0, 1 }, { 5, 6 } },
      pointers = { pair + 0, pair + 0 }, ["a table of one group"] = { { { 1, 2 }, { 3, 4 } } },
      words = { { "x" } }, ["bad memory"] = { { 1, 2 }, { ffi.cast("int32_t *", 64), 2 } },
      ["four rows"] = { { 1 }, { 2 }, { 3 }, { 4 } },
    } do
      for _, cols in ipairs { false, 1, 2, 3 } do
        try(("%s, %s columns"):format(title, tostring(cols)), 1,
          { block_table = value, block_table_cols = cols or nil }, show)
      end
    end
    notes.check "rows"
  end)

  it("are flat tables, whose rows may lie apart", function()
    local memory = int32s(8, { 1, 2, 3, 4, 5, 6, 7, 8 })
    for n = 0, 8 do
      for cols = -1, 4 do
        for stride = 0, 5 do
          try(("%d, columns %d, stride %d"):format(n, cols, stride), 1, {
            block_table = { memory, n }, block_table_cols = cols >= 0 and cols or nil,
            block_table_stride = stride > 0 and stride or nil }, show)
        end
      end
    end
    notes.check "flat"
  end)

  it("are one table a group", function()
    local eight = int32s(8, { 1, 2, 3, 4, 5, 6, 7, 8 })
    for groups = 1, 3 do
      for title, value in in_order {
        rows = { { 1, 2 } }, ["one table"] = { { { 1, 2 } } },
        ["two tables"] = { { { 1, 2 } }, { { 3, 4 } } },
        ["three tables"] = { { { 1, 2 } }, { { 3, 4 } }, { { 5, 6 } } },
        ["of other rows"] = { { { 1, 2 } }, { { 3, 4 }, { 5, 6 } }, { { 7, 8 } } },
        ["of other columns"] = { { { 1, 2 } }, { { 3 } }, { { 4, 5 } } }, flat = eight,
        ["flat ones"] = { eight, eight, { eight + 2, 6 } },
        ["two flat ones"] = { { eight, 4 }, { eight + 4, 4 } },
        ["one flat one"] = { eight }, ["rows and flat ones"] = { { { 1, 2 }, { 3, 4 } }, { eight, 6 } },
        ["flat ones and rows"] = { { eight, 6 }, { { 1, 2 }, { 3, 4 } } },
        ["the third apart"] = { { { 1, 2 }, { 3, 4 } }, { { 5, 6 }, { 7, 8 } }, { eight, 6 } },
      } do
        for _, size in ipairs { { 2 }, { 2, 4 }, {} } do
          try(("%d groups, %s, columns %s, stride %s"):format(groups, title, size[1] or "none",
            size[2] or "none"), groups, { block_table = value, block_table_cols = size[1],
                                          block_table_stride = size[2] }, show)
        end
      end
    end
    notes.check "groups"
  end)
end)
