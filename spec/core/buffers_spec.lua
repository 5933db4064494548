-- The bookkeeping of output buffers: which elements a build pads, for those that hold padding already are not
-- written again. A model remembers what every element holds. Where buffers lie and how far each step pads,
-- which changes time and not values, are sums: spec/goldens/texts.
local ffi = require "ffi"

require("spec.support.counted_library").use() -- before gdnmeta is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local golden = require "spec.support.golden"
local sum_of = require "spec.support.sum_of"

ffi.cdef [[int64_t gdn_counted_buffer(const gdn_builder *b, int32_t field, int32_t what);
           int32_t gdn_counted_pad(gdn_builder *b, int32_t field, int32_t filled, int32_t length);
           int32_t gdn_counted_pad_of(gdn_builder *b, int32_t field, int32_t filled, int32_t length,
                                      int64_t value);
           void gdn_counted_doubt(gdn_builder *b);]]

local random = math.random
local STEPS = 400
local WORLDS = {
  { "strict", { full_cuda_graph = false } },
  { "graphs", { full_cuda_graph = true, max_cudagraph_capture_size = 12, num_groups = 3 } },
  { "buckets", { full_cuda_graph = "mixed", num_speculative_tokens = 2, query_start_loc_dtype = "int64" } },
  { "few tokens", { num_speculative_tokens = 3, full_cuda_graph = true, max_num_batched_tokens = 9 } },
  { "long rows", { max_num_batched_tokens = 5000, num_groups = 2, gdn_prefill_backend = "flashinfer" } },
  { "vllm-2026-08", { rules = "vllm-2026-08", num_speculative_tokens = 1, full_cuda_graph = true } },
  { "vllm-2026-11", { rules = "vllm-2026-11", mamba_cache_mode = "align", mamba_block_size = 8,
                      num_prefill_checkpoint_blocks = 1, hash_block_size = 8, cache_hit_alignment_tokens = 8,
                      max_blocks_per_row = 9 } },
}

local function builder_of(options)
  local o = { device = "cpu", max_num_seqs = 6, max_rows = 8, max_num_batched_tokens = 200 }
  for name, value in pairs(options) do o[name] = value end
  return assert(gdn.builder(o))
end

local function buffer(builder, field, what)
  return tonumber(lib.gdn_counted_buffer(builder.handle, field, what))
end

local DATA = "data" -- what an element holds that is no padding; nil: nobody knows

-- Random steps of one field. pads(filled, length, value) is told what a step wrote, and says how far it pads.
local function play(sum, capacity, has_slots, has_values, pads)
  local held, live, value, most = {}, 0, 0, math.min(capacity, 40)
  for step = 1, STEPS do
    local event = random(40)
    if event == 1 then
      pads "forget"
      held, live = {}, 0
    elseif event == 2 then
      pads "doubt"
      live = capacity
    end
    if has_values and random(10) == 1 then value = random(3) end
    local length = random() < 0.5 and most or random(0, most)
    local filled = random() < 0.3 and length or random(0, length)
    for i = 0, filled - 1 do held[i] = DATA end
    local stop = pads(filled, length, value)
    assert.is_true(stop >= filled and stop <= capacity, stop)
    for i = filled, stop - 1 do held[i] = value end
    local reach = has_slots and math.max(live, length) or length
    for i = filled, reach - 1 do
      if held[i] ~= value then assert.are.same({ step, i, value }, { step, i, held[i] }) end
    end
    live = filled
    sum:number(stop)
  end
end

describe("Output buffers", function()
  for _, world in ipairs(WORLDS) do
    it("hold their padding: " .. world[1], function()
      math.randomseed(3)
      local builder, lines, field = builder_of(world[2]), {}, 0
      while buffer(builder, field, 0) >= 0 do
        local capacity, per_group = buffer(builder, field, 0), buffer(builder, field, 2)
        local places = ("%d: %d elements from %d, %d a group"):format(field, capacity,
                                                                      buffer(builder, field, 1), per_group)
        if capacity > 0 then
          local sum, f = sum_of.new(), field
          local has_slots = per_group > 0 and world[2].full_cuda_graph
          for _, has_values in ipairs { false, true } do
            lib.gdn_builder_poison(builder.handle)
            play(sum, capacity, has_slots, has_values, function(filled, length, value)
              if filled == "forget" then return lib.gdn_builder_poison(builder.handle) end
              if filled == "doubt" then return lib.gdn_counted_doubt(builder.handle) end
              if has_values then
                return lib.gdn_counted_pad_of(builder.handle, f, filled, length, value)
              end
              return lib.gdn_counted_pad(builder.handle, f, filled, length)
            end)
          end
          places = ("%s, sum %d"):format(places, sum.value)
        end
        lines[#lines + 1] = places
        field = field + 1
      end
      builder:close()
      golden("buffers-" .. world[1]:gsub(" ", "-"), table.concat(lines, "\n") .. "\n")
    end)
  end
end)
