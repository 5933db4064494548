-- Every number of a configuration in turn, at the ends of its range, one past them and between, under each
-- rule set: what is refused and in which words, and what a builder would take. Against spec/goldens/texts.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local schema = require "gdnmeta.native.schema"

local int32s = array_of "int32_t"
local notes = noted.new "config-"
local note, check = notes.note, notes.check
local why, bytes, info = ffi.new "char[512]", ffi.new "int64_t[1]", ffi.new "gdn_builder_info"
local RULES = { [0] = "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" }
local SMALL, MOST, LEAST = 2 ^ 20, 2 ^ 31 - 1, -2 ^ 31

-- What others are set to: each makes other options count.
local BASES = {
  { "plain" },
  { "speculative", num_speculative_tokens = 3, max_cudagraph_capture_size = 9, num_groups = 2,
    max_blocks_per_row = 5 },
  { "align", num_speculative_tokens = 2, num_speculative_blocks = 2, mamba_cache_mode = 1, max_requests = 7,
    full_cuda_graph = 1 },
  { "mixed", full_cuda_graph = 2, num_speculative_tokens = 1, max_rows = 8 },
  { "kept", mamba_cache_mode = 1, mamba_block_size = 4, num_prefill_checkpoint_blocks = 1,
    hash_block_size = 2, cache_hit_alignment_tokens = 2, num_speculative_blocks = 1 },
}

local function config_of(base, rules)
  local config = ffi.new "gdn_config"
  lib.gdn_config_init(config)
  config.max_num_seqs, config.max_num_batched_tokens, config.rules = 4, 40, rules
  for name, value in pairs(base) do
    if type(name) == "string" then config[name] = value end
  end
  return config
end

-- The words of a refusal, or the builder's bytes past those of `less` and, where it is small, what else
-- follows. Past: what a builder's own struct takes changes more often.
local function verdict(config, less)
  ffi.fill(why, 512)
  local status = tonumber(lib.gdn_builder_bytes(config, bytes, why, 512))
  if status ~= 0 then return false, ("%d %s"):format(status, ffi.string(why)) end
  local all = bytes[0]
  local told = ("%+.0f"):format(tonumber(less and all - less or all))
  if config.device ~= -1 or all > SMALL then return true, told, all end
  local out = ffi.new "gdn_builder *[1]"
  assert(lib.gdn_builder_new(config, out, why, 512) == 0, ffi.string(why))
  lib.gdn_builder_describe(out[0], info)
  lib.gdn_builder_free(out[0])
  assert.are.equal(all, info.bytes)
  return true, ("%s/%d/%d/%d/%d/%d"):format(told, info.decode_cudagraph_max_bs, info.reorder_batch_threshold,
    info.max_rows, info.max_requests, info.max_blocks_per_row), all
end

local function values_of(option)
  local seen, list = {}, {}
  local low, high = option.low, option.high
  for _, value in ipairs { LEAST, low - 1, low, low + 1, low + 2, 3, 4, 5, 9, 40, 65, high - 1, high,
                           high + 1, MOST } do
    if value >= LEAST and value <= MOST and not seen[value] then
      seen[value], list[#list + 1] = true, value
    end
  end
  table.sort(list)
  return list
end

-- #lua: with GDN_DEBUG, which make asan sets, a builder is some bytes more.
describe("A configuration #lua", function()
  before_each(notes.clear)

  for rules = 0, 3 do
    it("is taken and refused under " .. RULES[rules], function()
      for _, base in ipairs(BASES) do
        local is_legal, told, least = verdict(config_of(base, rules))
        if is_legal then told = select(2, verdict(config_of(base, rules), least)) end
        note(base[1], told)
        for _, option in ipairs(is_legal and schema.options or {}) do
          local refusals, order, taken = {}, {}, {}
          for _, value in ipairs(option.name == "rules" and {} or values_of(option)) do
            local config = config_of(base, rules)
            config[option.name] = value
            local is_taken, words = verdict(config, least)
            if is_taken then
              taken[#taken + 1] = words == told and ("%d"):format(value) or ("%d: %s"):format(value, words)
            else
              words = words:gsub(("= %d,"):format(value):gsub("%-", "%%-"), "= THIS,", 1)
              if not refusals[words] then order[#order + 1] = words end
              refusals[words] = (refusals[words] or "|") .. (" %d"):format(value)
            end
          end
          if #taken > 0 then note("  " .. option.name, table.concat(taken, ", ")) end
          for _, words in ipairs(order) do note("  " .. option.name, words, refusals[words]) end
        end
      end
      check(RULES[rules])
    end)
  end

  it("has slots, as many as are given or a state for each of its requests", function()
    local _, _, least = verdict(config_of({}, 0))
    for groups = 1, 3 do
      for _, slots in ipairs { { 1, 1, 1 }, { 2, 1, 1 }, { 9, 9, 9 }, { 9, 100, 3 }, { 0, 9, 9 }, { 9, 0, 9 },
                               { 9, 9, 0 }, { -1, 9, 9 }, { MOST, MOST, MOST } } do
        local config = config_of({}, 0)
        local held = int32s(3, slots)
        config.num_groups, config.num_slots = groups, held
        note(("%d of %s"):format(groups, table.concat(slots, " ")), (select(2, verdict(config, least))))
        assert(held)
      end
    end
    for _, sizes in ipairs { { 46341, 46340 }, { 46341, 46341 }, { 1, MOST }, { MOST, 1 }, { 2 ^ 27, 2 ^ 27 },
                             { 2 ^ 27 + 1, 2 ^ 27 }, { MOST, MOST } } do
      local config = config_of({}, 0)
      config.max_requests, config.max_blocks_per_row = sizes[1], sizes[2]
      note(("%.0f requests of %.0f"):format(sizes[1], sizes[2]), (select(2, verdict(config, least))))
    end
    check "slots"
  end)

  it("is one of this size, and is there", function()
    local config = config_of({}, 0)
    for by = -8, 8, 4 do
      config.size = ffi.sizeof "gdn_config" + by
      note("size", by, (verdict(config)))
      assert.are.equal(by == 0, (verdict(config)))
    end
    note("none", select(2, verdict(nil)))
    config.size = ffi.sizeof "gdn_config"
    assert.are.equal(tonumber(lib.GDN_EINVAL), tonumber(lib.gdn_builder_bytes(config, nil, why, 512)))
    note("no place", ffi.string(why))
    for size = 0, 40, 8 do
      ffi.fill(why, 512, 65)
      lib.gdn_builder_bytes(config, nil, why, size)
      note("room for " .. size, size > 0 and ffi.string(why) or ("%d"):format(why[0]))
      assert.are.equal(65, why[size]) -- and no byte more is written
    end
    check "whole"
  end)
end)
