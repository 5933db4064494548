-- The layer over a bucket: what a wrong element leaves out is NaN, never what an earlier step has left there.
local alone = require "spec.support.unbatched"
local array_of = require "gdnmeta.array_of"
local drawer = require "spec.support.drawer"
local gdn = require "gdnmeta"
local reference = require "gdnmeta.reference"

local doubles = array_of "double"

-- A speculative row of 2 tokens, a decode, prefills of 70 and 3, in a bucket of 6 rows and 90 tokens.
local TOKENS, PAST = 90, 9
local ROWS = { { past = PAST, tokens = 2, drafts = 1 }, { past = PAST, tokens = 1 },
               { past = 0, tokens = 70 }, { past = 0, tokens = 3 } }

-- { tensor, element, becomes, the first and the last token that are NaN then; true: so does each element
-- behind it }. Tokens 0 and 1 are speculative, 2 is the decode, 3 to 72 and 73 to 75 are the prefills; TOKENS
-- is what padding names.
local CHANGES = {
  { "spec_token_indx", 0, TOKENS, { 0, 1 } },
  { "spec_token_indx", 1, TOKENS, { 1, 1 } },
  { "spec_query_start_loc", 1, 0, { 0, 1 }, true },
  { "spec_query_start_loc", 1, 1, { 1, 1 }, true },
  { "non_spec_token_indx", 0, TOKENS, { 2, 2 } },
  { "non_spec_token_indx", 1, TOKENS, { 3, 72 } },
  { "non_spec_token_indx", 41, TOKENS, { 43, 72 } },
  { "non_spec_token_indx", 71, TOKENS, { 73, 75 } },
  { "batch_ptr", 0, -1, { 2, 2 } },
  { "batch_ptr", 1, -1, { 3, 72 } },
  { "batch_ptr", 3, -1, { 19, 72 } },
  { "batch_ptr", 10, -1, { 73, 75 } },
  { "decode_query_start_loc", 1, 0, { 2, 2 }, true },
  { "chunk_indices", 0, 2, { 3, 72 } },
  { "chunk_indices", 4, 2, { 73, 75 } },
}

describe("In a layer over a bucket", function()
  local builder, layer, meta, x, a, b, out
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 6, max_num_batched_tokens = TOKENS,
                                   num_speculative_tokens = 1, full_cuda_graph = "mixed" })
    local draw = drawer(5)
    local function weight() return draw(2001) / 1000 - 1 end
    layer = reference.layer { num_slots = 9, num_spec = 1, draw = weight }
    x, out = doubles(TOKENS * layer.channels), doubles(TOKENS * layer.heads * layer.value_dim)
    a, b = doubles(TOKENS * layer.heads), doubles(TOKENS * layer.heads)
    local batch, t = assert(builder:batch()), 0
    local function add(n, before, tokens, drafts)
      batch:add { query_len = tokens, seq_len = before + tokens, drafts = drafts, prompt_done = before > 0,
                  blocks = { 2 * n - 1, 2 * n } }
      for p = before, before + tokens - 1 do
        alone.inputs(layer, n, p, x, a, b, t)
        t = t + 1
      end
    end
    local function build()
      assert(batch:pad(6, TOKENS))
      meta = assert(builder:build(batch))
    end
    for n = 1, 2 do add(n, 0, PAST) end
    build()
    layer:forward(meta, x, a, b, out)
    batch:clear()
    t = 0
    for n, row in ipairs(ROWS) do add(n, row.past, row.tokens, row.drafts) end
    build()
    batch:close()
  end)
  after_each(function() builder:close() end)

  -- Tokens of the rows without a number, as pairs of first and last.
  local function left_out()
    local width, list = layer.heads * layer.value_dim, {}
    for i = 0, TOKENS * width - 1 do out[i] = 0 / 0 end
    layer:forward(meta, x, a, b, out)
    for t = 0, 75 do
      local nans = 0
      for i = t * width, (t + 1) * width - 1 do nans = nans + (out[i] ~= out[i] and 1 or 0) end
      assert.is_true(nans == 0 or nans == width)
      if nans > 0 and list[#list] == t - 1 then
        list[#list] = t
      elseif nans > 0 then
        list[#list + 1], list[#list + 2] = t, t
      end
    end
    return list
  end

  it("every token of a right step has numbers", function() assert.are.same({}, left_out()) end)

  for _, change in ipairs(CHANGES) do
    local name, i, becomes, want, is_each = unpack(change)
    it(("tokens %d to %d have none where %s[%d] is %d"):format(want[1], want[2], name, i, becomes), function()
      left_out()
      for k = i, is_each and #meta[name] - 1 or i do meta[name].data[k] = becomes end
      assert.are.same(want, left_out())
    end)
  end
end)
