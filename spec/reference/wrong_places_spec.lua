-- What the reference layer says of an index that is one too large, or too small, in every list of places that
-- it reads: against spec/goldens/texts. "as before": the outputs are the same.
local array_of = require "gdnmeta.array_of"
local drawer = require "spec.support.drawer"
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"

local doubles = array_of "double"
local notes = noted.new "reference-"

local LISTS = { "batch_ptr", "token_chunk_offset_ptr", "chunk_indices", "chunk_offsets", "spec_token_indx",
                "non_spec_token_indx", "spec_query_start_loc", "non_spec_query_start_loc",
                "prefill_query_start_loc", "decode_query_start_loc", "num_accepted_tokens" }

describe("A wrong place #lua", function()
  before_each(notes.clear)

  for _, mode in ipairs { false, "mixed" } do
    local where = mode and "in a bucket " or ""
    it(where .. "is named, or leaves something out", function()
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 6, max_num_batched_tokens = 96,
        num_speculative_tokens = 1, num_slots = 16, full_cuda_graph = mode })
      local draw = drawer(5)
      local function number() return draw(2001) / 1000 - 1 end
      local layer = gdn.reference.layer { num_slots = 16, num_spec = 1, draw = number }
      local batch = builder:batch()
      batch:add { query_len = 2, seq_len = 11, drafts = 1, prompt_done = true, blocks = { 1, 2 } }
      batch:add { query_len = 1, seq_len = 10, prompt_done = true, blocks = { 3, 4 } }
      batch:add { query_len = 70, seq_len = 70, blocks = { 5, 6 } }
      batch:add { query_len = 3, seq_len = 3, blocks = { 7, 8 } }
      if mode then batch:pad(6, 90) end
      local meta = assert(builder:build(batch))
      local n = meta.num_actual_tokens
      local x, a, b = doubles(n * layer.channels), doubles(n * layer.heads), doubles(n * layer.heads)
      for i = 0, n * layer.channels - 1 do x[i] = number() end
      for i = 0, n * layer.heads - 1 do a[i], b[i] = number(), number() end
      local windows, states = layer.pool.windows, layer.pool.states
      local size = n * layer.heads * layer.value_dim

      -- Outputs of a step whose slots all hold the same.
      local function outputs()
        for i = 0, 16 * layer.pool.window_size - 1 do windows[i] = i % 7 / 7 end
        for i = 0, 16 * layer.state_size - 1 do states[i] = i % 5 / 5 end
        local out = doubles(size)
        local ok, message = pcall(layer.forward, layer, meta, x, a, b, out)
        return ok and out, message
      end
      local right = assert(outputs())
      for _, name in ipairs(LISTS) do
        local view = meta[name]
        local count = view and view.shape[1] * (view.shape[2] or 1) or 0
        for i = 0, count - 1 do
          if i < 5 or i > count - 4 then
            local was = view.data[i]
            for _, is in ipairs { -1, was - 1, was + 1, n } do
              if is ~= was and (is ~= -1 or was ~= 0) then
                view.data[i] = is
                local out, message = outputs()
                local differ, nans = 0, 0
                for k = 0, out and size - 1 or -1 do
                  if out[k] ~= out[k] and right[k] == right[k] then nans = nans + 1
                  elseif out[k] ~= right[k] and right[k] == right[k] then differ = differ + 1 end
                end
                notes.note(("%s[%d] %d -> %d"):format(name, i, was, is),
                  message and (message:gsub("^%S+%.lua:%d+: ", ""))
                    or differ + nans > 0 and ("%d differ, %d are none"):format(differ, nans) or "as before")
              end
            end
            view.data[i] = was
          end
        end
      end
      builder:close()
      notes.check(mode and "wrong-places-bucket" or "wrong-places")
    end)
  end
end)
