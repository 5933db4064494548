-- Changes one element of a step's outputs after another, and asks for a check each time.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local random = require "spec.support.random_config"
local unseen = require "spec.support.undetectable"

local POINTERS = { [0] = "int32_t *", "int64_t *", "uint8_t *", "uint8_t *" }
local ALL = 48 -- elements of a tensor that are all changed; of longer ones both ends and some between

local M = {}

local function list_of(tensor)
  if tensor.data == nil then return end
  local out, p = {}, ffi.cast(POINTERS[tensor.dtype], tensor.data)
  for i = 0, tensor.shape[0] * tensor.shape[1] - 1 do out[i] = tonumber(p[i]) end
  return out
end

-- The step as undetectable.lua wants it.
local function snapshot(builder, config, rules, inputs)
  local m, strict = lib.gdn_builder_metadata(builder.handle), rules == "strict"
  local s = { strict = strict, capture = strict and inputs.capture, pad_slot = config.pad_slot_id,
    check_unique = config.check_unique ~= false, num_spec = config.num_speculative_tokens,
    num_spec_decodes = m.num_spec_decodes, num_spec_decode_tokens = m.num_spec_decode_tokens,
    max_num_batched_tokens = config.max_num_batched_tokens, columns = m.spec_state_indices_tensor.shape[1],
    groups = {}, num_slots = {} }
  for _, name in ipairs(compare.TENSORS) do s[name] = list_of(m[name]) end
  for g = 0, config.num_groups - 1 do
    local view = ffi.new "gdn_metadata"
    lib.gdn_metadata_group(builder.handle, g, view)
    s.groups[g], s.num_slots[g] = { view = view }, random.slots_of(config, g + 1)
    for _, name in ipairs(compare.STATE) do s.groups[g][name] = list_of(view[name]) end
  end
  local spec, cap = m.num_spec_decodes > 0, builder.decode_cudagraph_max_bs
  local rows = strict and m.num_rows or spec and m.num_spec_decodes or m.num_decodes
  s.mixed = spec and m.num_prefills > 0
  s.least_prefill = (strict or rules == "vllm-2026-11") and 1 or 2
  s.kept_grid, s.kept_every = config.prefill_checkpoint_alignment or 1, m.checkpoint_every_n_tokens
  if strict then s.kept_grid = config.checkpoint_any and 1 or 64 end
  local fits = rows <= cap and m.num_spec_decode_tokens <= cap
  s.for_graph = config.full_cuda_graph and m.num_prefills == 0 and fits
  s.tail = spec and 0 or m.num_decodes
  s.decodes = not spec and (strict or m.num_prefills ~= 0) and m.num_decodes or nil
  s.real = { spec = m.num_spec_decodes,
    non_spec = s.for_graph and m.num_decodes or m.non_spec_query_start_loc.shape[0] - 1 }
  s.bucket = config.full_cuda_graph == "mixed"
  if s.bucket then s.for_graph, s.real.non_spec = false, m.num_decodes + m.num_prefills end
  return s, m
end

local function places(rand, n)
  local out = {}
  if n <= ALL then
    for i = 0, n - 1 do out[i + 1] = i end
    return out
  end
  for i = 0, 11 do
    out[#out + 1], out[#out + 2], out[#out + 3] = i, n - 1 - i, rand(12, n - 13)
  end
  return out
end

local function values(rand, list, n, i, dtype)
  local v = list[i]
  if dtype == 2 then return { 1 - v, 2, 165 } end
  if dtype == 3 then return { 0, 1, 2, 3, 4, 165 } end
  local out = { v + 1, v - 1, 0, -1, 1, rand(0, 300), list[rand(0, n - 1)], 2147483647, -1515870811 }
  if dtype == 1 then out[#out + 1] = v + 2 ^ 32 end
  return out
end

--- Changes elements of the builder's last step. Raises on a change that should have been seen.
---@param counts table { seen =, codes = { [code] = n }, unseen = { [class] = n } }, added to
function M.run(rand, builder, config, rules, inputs, counts)
  local s, m = snapshot(builder, config, rules, inputs)
  local handle, violation = builder.handle, ffi.new "gdn_violation"

  local function tensor(name, group, t, list)
    if not list then return end
    local p, n = ffi.cast(POINTERS[t.dtype], t.data), t.shape[0] * t.shape[1]
    for _, i in ipairs(places(rand, n)) do
      for _, value in ipairs(values(rand, list, n, i, t.dtype)) do
        p[i] = value
        if tonumber(p[i]) ~= list[i] then -- a value too large for an element may become what it was
          assert(lib.gdn_check(handle, nil) == 0)
          local found = lib.gdn_check_result(handle, 1, violation) ~= 0
          p[i] = list[i]
          counts.seen = counts.seen + (found and 1 or 0)
          if found then
            counts.codes[violation.code] = (counts.codes[violation.code] or 0) + 1
            assert(violation.step == m.step)
          else
            local class = unseen.class_of(s, name, group, i, value)
            if not class then
              error(("%s[%d] of group %d became %s, was %s"):format(name, i, group, value, list[i]), 0)
            end
            counts.unseen[class] = (counts.unseen[class] or 0) + 1
          end
        end
      end
    end
  end

  for _, name in ipairs(compare.TENSORS) do tensor(name, 0, m[name], s[name]) end
  for g = 0, config.num_groups - 1 do
    local group = s.groups[g]
    for _, name in ipairs(compare.STATE) do tensor(name, g, group.view[name], group[name]) end
  end
  assert(lib.gdn_check(handle, nil) == 0 and lib.gdn_check_result(handle, 1, nil) == 0)
end

return M
