-- What a check says of each element that is another, in steps of every kind: the code and where, against
-- spec/goldens/texts. check_spec asks of random steps whether anything is said.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local compare = require "spec.support.compare"
local golden = require "spec.support.golden"
local lib = require "gdnmeta.native"

local SHAPE = " is longer or shorter than the step's counts say"

-- Those that groups have, too.
local TENSORS = {}
for _, list in ipairs { compare.TENSORS, compare.STATE } do
  for _, name in ipairs(list) do TENSORS[#TENSORS + 1] = name end
end

local POINTERS = { [0] = "int32_t *", "int64_t *", "uint8_t *", "uint8_t *" }
local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 64, max_blocks_per_row = 8 }
local MIXED, WIDE = { full_cuda_graph = "mixed" }, { query_start_loc_dtype = "int64" }

-- { name; builder's options; rows { query_len, seq_len, drafts, accepted, read_column }; rows and tokens with
-- padding }
local DECODES, PREFILLS = { { 1, 9 }, { 1, 30 }, { 1, 2 } }, { { 5, 90 }, { 70, 70 }, { 130, 130 } }
local DRAFTS = { { 3, 40, 2, 2 }, { 4, 40, 3, 1 }, { 1, 9, 0, 1 } }
local BOTH = { { 4, 40, 3, 4 }, { 1, 12 }, { 2, 30, 1, 2 }, { 9, 90 }, { 66, 66 } }
local STEPS = {
  { "decodes", {}, DECODES }, { "decodes, padded", { full_cuda_graph = true }, DECODES, 6, 6 },
  { "prefills", {}, PREFILLS }, { "prefills, wide", WIDE, PREFILLS },
  { "decodes and prefills", {}, { { 1, 9 }, { 1, 30 }, { 5, 90 }, { 70, 70 } } },
  { "drafts", {}, DRAFTS },
  { "drafts, padded", { full_cuda_graph = true }, { { 4, 40, 3, 2 }, { 4, 9, 3, 1 } }, 4, 16 },
  { "all", {}, BOTH }, { "all, unchecked slots", { check_unique = false, pad_slot_id = -1 }, BOTH },
  { "all, vllm-2026-04", { rules = "vllm-2026-04" }, BOTH },
  { "all, vllm-2026-08", { rules = "vllm-2026-08", full_cuda_graph = true }, BOTH },
  { "all, vllm-2026-11", { rules = "vllm-2026-11" }, BOTH },
  { "align", ALIGN, { { 4, 70, 3, 4, 1 }, { 1, 12, nil, nil, 0 }, { 66, 66, nil, nil, -1 } } },
  { "mixed", MIXED, { { 4, 40, 3, 4 }, { 1, 12 }, { 20, 20 } }, 8, 64 },
  { "mixed, full", MIXED, { { 1, 12 }, { 1, 13 }, { 20, 70 } }, 3, 22 },
  { "nothing", {}, {} },
}

local function build(step)
  local o = { device = "cpu", max_num_seqs = 8, max_num_batched_tokens = 300, check = true, num_slots = 99,
              num_speculative_tokens = 3, num_groups = 2 }
  for name, value in pairs(step[2]) do o[name] = value end
  local builder = assert(gdn.builder(o))
  local batch = assert(builder:batch())
  local columns = builder.max_blocks_per_row
  for group = 0, 1 do
    for i = 0, 7 do
      for k = i * columns, (i + 1) * columns - 1 do builder:table(group)[k] = 1 + (k + 7 * group) % 90 end
    end
  end
  for i, row in ipairs(step[3]) do
    assert(batch:push(i - 1, row[1], row[2], row[2] > row[1], row[3] or -1, row[4] or 1))
  end
  for i, row in ipairs(step[3]) do
    if row[5] then batch.rows.read_column[i - 1] = row[5] end
  end
  if step[4] then assert(batch:pad(step[4], step[5])) end
  assert(builder:build(batch))
  assert(builder:peek_check_result())
  return builder, batch
end

-- Equal words that follow each other, once.
local function shorter(words)
  local list, n = {}, 0
  for k, word in ipairs(words) do
    n = n + 1
    if words[k + 1] ~= word then
      list[#list + 1], n = n > 1 and n .. "x" .. word or word, 0
    end
  end
  return table.concat(list, " ")
end

-- What is said of each value: the code, the tensor's first letters and the element. One line an element.
local function flip(builder, name, tensor, lines)
  if tensor.data == nil then return end
  local p, n = ffi.cast(POINTERS[tensor.dtype], tensor.data), tensor.shape[0] * tensor.shape[1]
  local violation = ffi.new "gdn_violation"
  for i = 0, n - 1 do
    if i < 6 or i >= n - 3 then
      local was, said = p[i], {}
      local v = tonumber(was)
      local values = tensor.dtype > 1 and { 1 - v, 2, 165 }
        or { v + 1, v - 1, 0, -1, 1, v + 3, 98, 99, 2 ^ 31 - 1, -2 ^ 31 }
      for k, value in ipairs(values) do
        p[i] = value
        assert(lib.gdn_check(builder.handle, nil) == 0)
        local found = lib.gdn_check_result(builder.handle, 1, violation) ~= 0
        said[k] = p[i] == was and "=" or not found and "-"
          or ("%d@%s[%d]"):format(violation.code, ffi.string(violation.field):match "^..", violation.element)
        p[i] = was
      end
      lines[#lines + 1] = ("%s[%d] %d: %s"):format(name, i, v, shorter(said))
    end
  end
end

describe("A check", function()
  it("says this of each element", function()
    local lines = {}
    for _, step in ipairs(STEPS) do
      local builder, batch = build(step)
      lines[#lines + 1] = "== " .. step[1]
      local meta, view = lib.gdn_builder_metadata(builder.handle), ffi.new "gdn_metadata"
      for _, name in ipairs(compare.TENSORS) do flip(builder, name, meta[name], lines) end
      for group = 0, builder.num_groups - 1 do
        assert(lib.gdn_metadata_group(builder.handle, group, view) == 0)
        for _, name in ipairs(compare.STATE) do flip(builder, group .. " " .. name, view[name], lines) end
      end
      batch:close()
      builder:close()
    end
    golden("check-codes", table.concat(lines, "\n") .. "\n")
  end)

  it("says this of each tensor that has another shape, or is not there", function()
    local lines = {}
    for _, step in ipairs(STEPS) do
      local builder, batch = build(step)
      lines[#lines + 1] = "== " .. step[1]
      local meta, violation = lib.gdn_builder_metadata(builder.handle), ffi.new "gdn_violation"
      for _, name in ipairs(TENSORS) do
        local tensor = ffi.cast("gdn_tensor *", meta[name])
        local said = {}
        local function try(what, at, field, value)
          local was = at[field]
          at[field] = value
          assert(lib.gdn_check(builder.handle, nil) == 0)
          local status = lib.gdn_check_result(builder.handle, 1, violation)
          local text = status == 0 and "-" or ffi.string(lib.gdn_last_error(builder.handle))
          said[#said + 1] = what .. (text == "step 1: " .. name .. SHAPE and "" or ": " .. text)
          at[field] = was
        end
        if tensor.data ~= nil then
          try("longer", tensor.shape, 0, tensor.shape[0] + 1)
          try("shorter", tensor.shape, 0, tensor.shape[0] - 1)
          try("wider", tensor.shape, 1, tensor.shape[1] + 1)
          try("none", tensor, "data", nil)
        end
        if #said > 0 then lines[#lines + 1] = name .. ": " .. table.concat(said, ", ") end
      end
      assert(builder:peek_check_result())
      batch:close()
      builder:close()
    end
    golden("check-shapes", table.concat(lines, "\n") .. "\n")
  end)
end)
