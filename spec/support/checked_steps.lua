-- Steps of every kind, built by a builder that checks, and what a check says of each element that is another.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local array_of = require "gdnmeta.array_of"
local compare = require "spec.support.compare"
local lib = require "gdnmeta.native"

local byte_array = array_of "uint8_t"
local M = {}

local SIZES = { [0] = 4, 8, 1, 1 }
local POINTERS = { [0] = "int32_t *", "int64_t *", "uint8_t *", "uint8_t *" }
local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 64, max_blocks_per_row = 8 }
local MIXED, WIDE = { full_cuda_graph = "mixed" }, { query_start_loc_dtype = "int64" }

-- { name; builder's options; rows { query_len, seq_len, drafts, accepted, read_column, kept = the state after
-- so many tokens of the sequence is kept as well }; rows and tokens with padding;
-- is_like_others: of no kind of its own on a device }
local DECODES, PREFILLS = { { 1, 9 }, { 1, 30 }, { 1, 2 } }, { { 5, 90 }, { 70, 70 }, { 130, 130 } }
local DRAFTS = { { 3, 40, 2, 2 }, { 4, 40, 3, 1 }, { 1, 9, 0, 1 } }
local BOTH = { { 4, 40, 3, 4 }, { 1, 12 }, { 2, 30, 1, 2 }, { 9, 90 }, { 66, 66 } }
local LONG, MANY = { max_num_seqs = 24 }, {}
for n = 1, 20 do MANY[n] = n % 3 == 0 and { 1, 9 + n } or { 1 + n % 4, 40 + n, n % 4, 1 + n % 2 } end
local KEPT = { { 1, 9 }, { 70, 170, kept = 164 }, { 130, 130, kept = 128 }, { 64, 64 } }
M.STEPS = {
  { "decodes", {}, DECODES, is_like_others = true },
  { "decodes, padded", { full_cuda_graph = true }, DECODES, 6, 6 },
  { "prefills", {}, PREFILLS, is_like_others = true },
  { "prefills, wide", WIDE, PREFILLS },
  { "decodes and prefills", {},
    { { 1, 9 }, { 1, 30 }, { 5, 90 }, { 70, 70 } }, is_like_others = true },
  { "drafts", {}, DRAFTS, is_like_others = true },
  { "drafts, padded", { full_cuda_graph = true }, { { 4, 40, 3, 2 }, { 4, 9, 3, 1 } }, 4, 16 },
  { "all", {}, BOTH, is_like_others = true },
  { "all, unchecked slots", { check_unique = false, pad_slot_id = -1 }, BOTH },
  { "all, vllm-2026-04", { rules = "vllm-2026-04" }, BOTH },
  { "all, vllm-2026-08", { rules = "vllm-2026-08", full_cuda_graph = true }, BOTH },
  { "all, vllm-2026-11", { rules = "vllm-2026-11" }, BOTH, is_like_others = true },
  { "align", ALIGN, { { 4, 70, 3, 4, 1 }, { 1, 12, nil, nil, 0 }, { 66, 66, nil, nil, -1 } } },
  { "mixed", MIXED, { { 4, 40, 3, 4 }, { 1, 12 }, { 20, 20 } }, 8, 64 },
  { "mixed, full", MIXED, { { 1, 12 }, { 1, 13 }, { 20, 70 } }, 3, 22, is_like_others = true },
  { "nothing", {}, {}, is_like_others = true },
  { "many", LONG, MANY },
  { "many, vllm-2026-08", { rules = "vllm-2026-08", max_num_seqs = 24 }, MANY, is_like_others = true },
  { "kept", { num_speculative_tokens = 0 }, KEPT },
  { "kept, anywhere", { num_speculative_tokens = 0, checkpoint_any = true, max_num_batched_tokens = 500 },
    { { 1, 9 }, { 70, 170, kept = 103 }, { 66, 90, kept = 88 }, { 70, 70, kept = 7 } } },
  { "kept, mixed", { full_cuda_graph = "mixed", num_speculative_tokens = 0 }, KEPT, 6, 280 },
  { "kept, vllm-2026-11", { rules = "vllm-2026-11", num_speculative_tokens = 0, mamba_cache_mode = "align",
      mamba_block_size = 8, num_speculative_blocks = 0, max_blocks_per_row = 20,
      num_prefill_checkpoint_blocks = 1, hash_block_size = 4, cache_hit_alignment_tokens = 4,
      prefill_checkpoint_alignment = 4 },
    { { 1, 9 }, { 20, 20 }, { 37, 77 } } },
  { "kept, by a plan", { rules = "vllm-2026-11", num_speculative_tokens = 0, mamba_cache_mode = "align",
      mamba_block_size = 64, num_speculative_blocks = 0, max_blocks_per_row = 6, hash_block_size = 64,
      num_prefill_checkpoint_blocks = 1, prefill_checkpoint_alignment = 64, cache_hit_alignment_tokens = 64,
      gdn_prefill_backend = "flashinfer", max_num_batched_tokens = 600 },
    { { 1, 9 }, { 200, 200 }, { 40, 130 }, { 150, 150 } } },
}

--- A builder that has built the step, and its batch.
---@param step table of STEPS
---@param device string
function M.build(step, device)
  local o = { device = device, max_num_seqs = 8, max_num_batched_tokens = 300, check = true, num_slots = 99,
              num_speculative_tokens = 3, num_groups = 2 }
  for name, value in pairs(step[2]) do o[name] = value end
  local builder = assert(gdn.builder(o))
  local batch = assert(builder:batch())
  local columns = builder.max_blocks_per_row
  for group = 0, 1 do
    for k = 0, builder.max_requests * columns - 1 do builder:table(group)[k] = 1 + (k + 7 * group) % 90 end
  end
  for i, row in ipairs(step[3]) do
    assert(batch:push(i - 1, row[1], row[2], row[2] > row[1], row[3] or -1, row[4] or 1))
  end
  for i, row in ipairs(step[3]) do
    if row[5] then batch.rows.read_column[i - 1] = row[5] end
    batch.rows.checkpoint_len[i - 1] = row.kept or 0
    for group = 0, 1 do batch.rows.checkpoint_slot[group * batch.rows.max_rows + i - 1] = 91 + i end
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
local function flip(builder, name, tensor, lines, write)
  if tensor.data == nil then return end
  local p, n, size = ffi.cast(POINTERS[tensor.dtype], tensor.data), tensor.shape[0] * tensor.shape[1],
    SIZES[tensor.dtype]
  local at, copy = ffi.cast("char *", p), byte_array(n * size + 1)
  if write and n > 0 then
    assert(lib.gdn_builder_read(builder.handle, copy, p, n * size) == 0)
    p = ffi.cast(POINTERS[tensor.dtype], copy)
  end
  local violation = ffi.new "gdn_violation"
  for i = 0, n - 1 do
    if i < 6 or i >= n - 3 then
      local was, said = p[i], {}
      local v = tonumber(was)
      local values = tensor.dtype > 1 and { 1 - v, 2, 165 }
        or { v + 1, v - 1, 0, -1, 1, v + 3, 98, 99, 2 ^ 31 - 1, -2 ^ 31 }
      if name:find "checkpoint" then values[11], values[12], values[13] = v + 4, v + 64, v - 64 end
      for k, value in ipairs(values) do
        p[i] = value
        if write then write(at + i * size, p + i, size) end
        assert(lib.gdn_check(builder.handle, nil) == 0)
        local found = lib.gdn_check_result(builder.handle, 1, violation) ~= 0
        said[k] = p[i] == was and "=" or not found and "-"
          or ("%d@%s[%d]"):format(violation.code, ffi.string(violation.field):match "^..", violation.element)
        p[i] = was
      end
      if write then write(at + i * size, p + i, size) end
      lines[#lines + 1] = ("%s[%d] %d: %s"):format(name, i, v, shorter(said))
    end
  end
end

--- What is said of each element of a step, appended to the lines.
---@param builder table
---@param lines table
---@param write function|nil write(to, from, bytes) to a device that has the outputs
function M.flip_all(builder, lines, write)
  local meta, view = lib.gdn_builder_metadata(builder.handle), ffi.new "gdn_metadata"
  for _, name in ipairs(compare.TENSORS) do flip(builder, name, meta[name], lines, write) end
  for group = 0, builder.num_groups - 1 do
    assert(lib.gdn_metadata_group(builder.handle, group, view) == 0)
    for _, name in ipairs(compare.STATE) do flip(builder, group .. " " .. name, view[name], lines, write) end
  end
end

-- A tensor's elements at its ends, as changes: { name, pointer, element }.
local function add_ends(list, name, tensor)
  if tensor.data == nil then return end
  local p, n = ffi.cast(POINTERS[tensor.dtype], tensor.data), tensor.shape[0] * tensor.shape[1]
  for i = 0, n - 1 do
    if i < 4 or i >= n - 1 then list[#list + 1] = { name, p, i, tensor.dtype > 1 } end
  end
end

--- What is said where two elements of the first group are others, by a little: how often which code, and how
--- often nothing. One line for each tensor that one of them is of.
---@param builder table
---@param lines table
function M.flip_pairs(builder, lines)
  local meta, violation, list = lib.gdn_builder_metadata(builder.handle), ffi.new "gdn_violation", {}
  for _, names in ipairs { compare.TENSORS, compare.STATE } do
    for _, name in ipairs(names) do add_ends(list, name, meta[name]) end
  end
  local counts, order = {}, {}
  local function change(e, by)
    local was = e[2][e[3]]
    e[2][e[3]] = e[4] and 1 - was or was + by
    return was
  end
  for k, a in ipairs(list) do
    if not counts[a[1]] then counts[a[1]], order[#order + 1] = {}, a[1] end
    for m = k + 1, #list do
      local b = list[m]
      for by = -1, 1, 2 do
        for and_by = -1, 1, 2 do
          local was, and_was = change(a, by), change(b, and_by)
          assert(lib.gdn_check(builder.handle, nil) == 0)
          local code = lib.gdn_check_result(builder.handle, 1, violation) == 0 and 0 or violation.code
          b[2][b[3]], a[2][a[3]] = and_was, was
          counts[a[1]][code] = (counts[a[1]][code] or 0) + 1
        end
      end
    end
  end
  for _, name in ipairs(order) do
    local said = {}
    for code = 0, 31 do
      if counts[name][code] then said[#said + 1] = ("%d: %d"):format(code, counts[name][code]) end
    end
    lines[#lines + 1] = name .. " " .. table.concat(said, ", ")
  end
end

return M
