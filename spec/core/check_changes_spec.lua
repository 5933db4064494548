-- What a check says of random changes: of some elements of a step at once, which often agree with each other,
-- of a step's counts and of shapes. How often which code, and a sum of codes and places, against
-- spec/goldens/texts. check_codes_spec has single elements, one by one.
local ffi = require "ffi"
local compare = require "spec.support.compare"
local golden = require "spec.support.golden"
local lib = require "gdnmeta.native"
local random = require "spec.support.random_config"
local steps = require "spec.support.checked_steps"
local sum_of = require "spec.support.sum_of"

local CASES = 6000
local POINTERS = { [0] = "int32_t *", "int64_t *", "uint8_t *", "uint8_t *" }
local COUNTS = { "num_prefills", "num_prefill_tokens", "num_decodes", "num_decode_tokens", "num_spec_decodes",
                 "num_spec_decode_tokens", "num_actual_tokens", "num_rows", "num_checkpoints" }

-- Where launch tables are longer than the shortest.
local SEATS, TOKENS = 20, 9000
local LONG = { { 1, 9 }, { 1, 18 }, { 1203, 1206 }, { 1204, 1270 }, { 1205, 1205 }, { 1206, 1206 },
               { 1207, 1207 }, { 1208, 1208 }, { 64, 64 } }
local STEPS = {
  { "long prompts", { max_num_seqs = SEATS, max_num_batched_tokens = TOKENS }, LONG },
  { "long prompts, vllm-2026-08",
    { rules = "vllm-2026-08", max_num_seqs = SEATS, max_num_batched_tokens = TOKENS }, LONG },
  { "a long bucket", { full_cuda_graph = "mixed", max_num_seqs = SEATS, max_num_batched_tokens = TOKENS },
    { { 4, 40, 3, 2 }, { 4, 44, 3, 4 }, { 1, 9 }, { 607, 614 }, { 608, 608 }, { 130, 130 } }, 13, 8205 },
  { "a long bucket, wide", { full_cuda_graph = "mixed", num_speculative_tokens = 0, max_num_seqs = SEATS,
      max_num_batched_tokens = TOKENS, query_start_loc_dtype = "int64" },
    { { 1, 9 }, { 1, 18 }, { 128, 128 }, { 3, 3 } }, 6, 8200 },
}
for _, step in ipairs(steps.STEPS) do STEPS[#STEPS + 1] = step end

-- Every tensor of every group.
local function tensors_of(builder)
  local list, meta = {}, lib.gdn_builder_metadata(builder.handle)
  local function add(tensor)
    local n = tensor.shape[0] * tensor.shape[1]
    if tensor.data == nil or n == 0 then return end
    local at = ffi.cast(POINTERS[tensor.dtype], tensor.data)
    list[#list + 1] = { at = at, n = n, is_flag = tensor.dtype > 1 }
  end
  for _, name in ipairs(compare.TENSORS) do add(meta[name]) end
  for group = 0, builder.num_groups - 1 do
    local view = ffi.new "gdn_metadata"
    assert(lib.gdn_metadata_group(builder.handle, group, view) == 0)
    for _, name in ipairs(compare.STATE) do add(view[name]) end
  end
  return list
end

local function place(rand, n)
  local kind = rand(1, 6)
  if kind == 1 then return rand(0, n - 1) end
  return kind < 5 and math.min(rand(0, 9), n - 1) or math.max(n - rand(1, 4), 0)
end

local function value(rand, t, i)
  local was, kind = tonumber(t.at[i]), rand(1, 12)
  if t.is_flag then return kind < 9 and 1 - was or rand(0, 4) end
  if kind <= 3 then return was + 1 end
  if kind <= 6 then return was - 1 end
  if kind <= 8 then return tonumber(t.at[math.min(math.max(i + rand(-1, 1), 0), t.n - 1)]) end
  if kind == 9 then return was + rand(-70, 70) end
  if kind == 10 then return rand(-1, 1) end
  return kind == 11 and rand(0, 99) or rand(0, 1) * (2 ^ 32 - 1) - 2 ^ 31
end

-- Some elements become others: { array, element, what it was }, in order.
local function change_some(rand, tensors)
  local changed, t, i = {}, nil, nil
  for k = 1, rand(1, 4) do
    if k == 1 or rand(1, 3) == 1 then
      t = tensors[rand(1, #tensors)]
      i = k > 1 and rand(1, 2) == 1 and math.min(i, t.n - 1) or place(rand, t.n)
    else
      i = math.min(math.max(i + rand(-1, 2), 0), t.n - 1)
    end
    changed[k] = { t.at, i, t.at[i] }
    t.at[i] = value(rand, t, i)
  end
  return changed
end

-- Or one of the counts does, or a tensor's length.
local function change_count(rand, meta)
  local name = rand(1, 4) > 1 and COUNTS[rand(1, #COUNTS)]
  if name then
    local was = meta[name]
    meta[name] = was + rand(0, 1) * 2 - 1
    return { { meta, name, was } }
  end
  local shape = meta[compare.TENSORS[rand(1, #compare.TENSORS)]].shape
  local was = shape[0]
  shape[0] = math.max(was + rand(-1, 1), 0)
  return { { shape, 0, was } }
end

-- A line for a step.
local function check(step, seed)
  local builder, batch = steps.build(step, "cpu")
  local rand, sum, counts, violation = random.rng(seed), sum_of.new(), {}, ffi.new "gdn_violation"
  local tensors = tensors_of(builder)
  local meta = ffi.cast("gdn_metadata *", lib.gdn_builder_metadata(builder.handle))
  for _ = 1, CASES do
    local changed = #tensors > 0 and rand(1, 8) > 1 and change_some(rand, tensors) or change_count(rand, meta)
    assert(lib.gdn_check(builder.handle, nil) == 0)
    local code = lib.gdn_check_result(builder.handle, 1, violation) == 0 and 0 or violation.code
    for k = #changed, 1, -1 do changed[k][1][changed[k][2]] = changed[k][3] end
    counts[code] = (counts[code] or 0) + 1
    sum:number(code)
    if code > 0 then
      sum:text(ffi.string(violation.field))
      sum:number(violation.group * 2 ^ 20 + violation.element)
    end
  end
  assert(lib.gdn_check(builder.handle, nil) == 0)
  assert(builder:peek_check_result())
  batch:close()
  builder:close()
  local said = {}
  for code = 0, 31 do
    if counts[code] then said[#said + 1] = ("%d: %d"):format(code, counts[code]) end
  end
  return ("%s: sum %d, %s"):format(step[1], sum.value, table.concat(said, ", "))
end

describe("A check", function()
  it("says this of random changes", function()
    local lines = {}
    for n, step in ipairs(STEPS) do lines[n] = check(step, n) end
    golden("check-changes", table.concat(lines, "\n") .. "\n")
  end)
end)
