-- What every method answers to every wrong argument: one argument at a time becomes each of a list of values,
-- the others stay good. Whole answers, whose ranges the message states, against spec/goldens/texts.
local ffi = require "ffi"
local args = require "gdnmeta.native.args"
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local array_of = require "gdnmeta.array_of"

local int32s, bytes = array_of "int32_t", array_of "uint8_t"

-- { how it is shown, value }. Good ones are among them: the last that is taken stands beside the first that
-- is not.
local NUMBERS = { -2 ^ 31 - 1, -2 ^ 31, -2, -1, 0, 1, 2, 3, 4, 5, 8, 9, 64, 65, 1.5, 2 ^ 31 - 1, 2 ^ 31,
                  1 / 0, 0 / 0 }
local VALUES = { { "nil" }, { "true", true }, { '"x"', "x" }, { "{}", {} }, { "{7}", { 7 } },
                 { "{7, 8}", { 7, 8 } }, { "{{7}, {8}}", { { 7 }, { 8 } } }, { "{1 to 9}", {} },
                 { "int32[2]", int32s(2) }, { "int32[9]", int32s(9) }, { "null", ffi.new "int32_t *" } }
for i = 1, 9 do VALUES[8][2][i] = i end
for _, n in ipairs(NUMBERS) do table.insert(VALUES, 2, { ("%.14g"):format(n), n }) end

-- What the message repeats of the value is left out, so that values of one kind have one answer.
local function plain(text, value)
  local shown = args.show(value):gsub("%p", "%%%0")
  text = text:gsub("0x%x+", "0x..") .. " "
  return text:gsub(" " .. shown .. "([, ])", " ..%1", 1):sub(1, -2)
end

local function answer(value, ok, first, message, code)
  if not ok then return "raises " .. plain(tostring(first):gsub("^[^:]*:%d+: ", ""), value) end
  if first == nil and message then return ("nil, %s, %s"):format(plain(message, value), tostring(code)) end
  if type(first) == "number" then return ("gives %d"):format(first) end
  return type(first) == "boolean" and "gives " .. tostring(first) or "is taken"
end

describe("An argument", function()
  local lines
  before_each(function() lines = {} end)

  -- Values with one answer stand on one line; those with the most common one are not named.
  local function note(title, answers, order)
    local most = order[1]
    for _, text in ipairs(order) do
      if #answers[text] > #answers[most] then most = text end
    end
    for _, text in ipairs(order) do
      local which = text == most and "the others" or table.concat(answers[text], " ")
      lines[#lines + 1] = ("%s = %s: %s"):format(title, which, text)
    end
  end

  -- names: of the arguments; good(): a list of good ones; call(...): the method on something new or cleared.
  local function try(method, names, good, call)
    for place, name in ipairs(names) do
      local answers, order = {}, {}
      for _, value in ipairs(VALUES) do
        local list = good()
        list[place] = value[2]
        local text = answer(value[2], pcall(call, unpack(list, 1, #names)))
        if not answers[text] then answers[text], order[#order + 1] = {}, text end
        table.insert(answers[text], value[1])
      end
      note(method .. ": " .. name, answers, order)
    end
  end

  -- The same of fields of a table, `make` gives a good one.
  local function try_fields(method, names, make, call)
    for _, name in ipairs(names) do
      try(method, { name }, function() return {} end, function(value)
        local given = make()
        given[name] = value
        return call(given)
      end)
    end
  end

  local function check(name) golden("wrong-" .. name, table.concat(lines, "\n") .. "\n") end

  local function builder_of(options)
    local o = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, num_slots = 40 }
    for name, value in pairs(options) do o[name] = value end
    return assert(gdn.builder(o))
  end

  local function try_builder(b, groups)
    local list = groups == 1 and { 5, 6, 7 } or { { 5 }, { 8 } }
    local cells, pool = int32s(64), bytes(40 * 4096)
    try("table", { "group" }, function() return { 0 } end, function(...) return b:table(...) end)
    try("set_blocks", { "group", "table_row", "blocks" }, function() return { 0, 0, { 1 } } end,
      function(...) return b:set_blocks(...) end)
    try("borrow_table", { "group", "cells", "row_stride", "rows" }, function() return { 0, cells, 8, 4 } end,
      function(...)
        local ok, message, code = b:borrow_table(...)
        if ok then assert(b:borrow_table((...))) end
        return ok, message, code
      end)
    local batch = assert(b:batch())
    local function row_of() return { query_len = 3, seq_len = 3, blocks = list } end
    try_fields("add", { "query_len", "seq_len", "blocks", "drafts", "accepted", "prompt_done", "read_column",
                        "checkpoint_len", "checkpoint_slot", "nope" }, row_of, function(row)
      batch:clear()
      return batch:add(row)
    end)
    try_fields("add with a checkpoint", { "checkpoint_slot" }, function()
      local row = row_of()
      row.checkpoint_len = 2
      return row
    end, function(row)
      batch:clear()
      return batch:add(row)
    end)
    try("push", { "table_row", "query_len", "seq_len", "prompt_done", "drafts", "accepted", "read_column" },
      function() return { 0, 1, 9, true, -1, 1, 0 } end, function(...)
        batch:clear()
        return batch:push(...)
      end)
    try("pad", { "rows", "tokens" }, function() return { 4, 64 } end, function(...)
      batch:clear()
      for i = 0, 1 do batch:push(i, 2 + i, 9, true) end
      return batch:pad(...)
    end)
    for _, name in ipairs { "build", "check" } do
      batch:clear()
      try(name, name == "build" and { "batch", "stream" } or { "stream" },
        function() return name == "build" and { batch } or {} end, function(...) return b[name](b, ...) end)
    end
    batch:add(row_of())
    local meta = assert(b:build(batch))
    try("group", { "group" }, function() return { 0 } end, function(...) return meta:group(...) end)
    try("at of a vector", { "row", "column" }, function() return { 0 } end,
      function(...) return meta.non_spec_query_start_loc:at(...) end)
    try("element", { "row" }, function() return { 0 } end,
      function(i) return meta.non_spec_query_start_loc[i] end)
    try_fields("bring_states", { "group", "pool", "spec_rows", "slot_bytes", "slot_stride", "nope" },
      function() return { group = 0, pool = pool, slot_bytes = 64 } end,
      function(o) return b:bring_states(o) end)
    try_fields("bring_windows", { "group", "pool", "spec_rows", "channels", "length", "element_bytes",
                                  "strides", "windows_in" },
      function() return { group = 0, pool = pool, channels = 4, length = 3, element_bytes = 2 } end,
      function(o) return b:bring_windows(o) end)
    local function inputs()
      return { query_start_loc = { 0, 3 }, seq_lens = { 3 },
               block_table = groups == 1 and { { 5, 6, 7 } } or { { { 5 } }, { { 6 } } } }
    end
    for _, name in ipairs { "build_raw", "capture" } do
      try_fields(name, { "query_start_loc", "seq_lens", "block_table", "block_table_cols",
                         "block_table_stride", "num_reqs", "num_actual_tokens", "max_query_len",
                         "num_accepted_tokens", "num_decode_draft_tokens", "prompt_done", "read_column",
                         "rows", "tokens" }, inputs, function(given) return b[name](b, given) end)
      try(name, { "inputs", "stream" }, function() return { inputs() } end,
        function(...) return b[name](b, ...) end)
    end
  end

  it("of a builder, its batch and what it built", function()
    local b = builder_of { num_groups = 1, num_speculative_tokens = 2 }
    try_builder(b, 1)
    b:close()
    check "builder"
  end)

  it("of a builder with groups", function()
    local b = builder_of { num_groups = 2, num_slots = { 40, 20 } }
    try_builder(b, 2)
    b:close()
    check "groups"
  end)

  it("of a builder of a device", function()
    local driver = drivers.open "fake"
    local b = builder_of { device = "cuda", num_groups = 2, num_speculative_tokens = 2 }
    local memory = driver:int32(64)
    try("borrow_device_table", { "group", "cells", "row_stride", "rows" },
      function() return { 0, memory, 8, 4 } end, function(...) return b:borrow_device_table(...) end)
    for _, name in ipairs { "borrow_device_seq_lens", "borrow_device_accepted" } do
      try(name, { "memory", "n" }, function() return { memory, 8 } end,
        function(...) return b[name](b, ...) end)
    end
    local batch = assert(b:batch())
    for _ = 1, 2 do batch:push(0, 1, 9, true) end
    try("index", { "row", "seq_index", "accepted_index" }, function() return { 0, 0, 0 } end,
      function(...) return batch:index(...) end)
    b:close()
    driver:close()
    check "device"
  end)

  it("of a builder of buckets, and of the library", function()
    local mixed = { device = "cpu", full_cuda_graph = "mixed", max_num_seqs = 4, max_num_batched_tokens = 64 }
    local b = builder_of(mixed)
    try_fields("capture", { "rows", "tokens", "nope" }, function() return { rows = 4, tokens = 8 } end,
      function(given) return b:capture(given) end)
    try("capture", { "inputs", "stream" }, function() return { { rows = 4, tokens = 8 } } end,
      function(...) return b:capture(...) end)
    b:close()
    try("bucket", { "rows", "tokens", "options" }, function() return { 4, 8, mixed } end, gdn.bucket)
    try_fields("reorder", { "decode_threshold", "num_scheduled", "num_computed", "num_prompt", "nope" },
      function()
        return { decode_threshold = 1, num_scheduled = { 1, 2 }, num_computed = { 9, 0 },
                 num_prompt = { 2, 2 } }
      end, gdn.reorder)
    check "library"
  end)
end)
