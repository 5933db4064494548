-- Builders, batches, metadata and views end in any order: by close(), by the collector, or both.
local gdn = require "gdnmeta"

local function make()
  return assert(gdn.builder { device = "cpu", max_num_seqs = 4 })
end

local decode = require "spec.support.decode_step"

describe("lifetimes", function()
  local function collect()
    collectgarbage()
    collectgarbage()
  end

  it("end in any order", function()
    for order = 1, 24 do
      local builder = make()
      local batch = builder:batch()
      local kept = { builder, batch, assert(decode(builder, batch, 3)) }
      kept[4] = kept[3].non_spec_state_indices_tensor
      builder, batch = nil, nil -- luacheck: ignore
      local pick, left = order - 1, { 1, 2, 3, 4 }
      for n = 4, 1, -1 do
        local at = table.remove(left, pick % n + 1)
        pick = math.floor(pick / n)
        kept[at] = nil
        collect()
        if kept[2] then assert.are.equal(1, kept[2].num_rows) end
        if kept[3] then assert.are.equal(1, kept[3].num_decodes) end
        if kept[4] then assert.are.equal(3, kept[4][0]) end
      end
    end
  end)

  it("of a builder lasts as long as one view of it", function()
    local alive = setmetatable({}, { __mode = "k" })
    local function one_view(pick)
      local builder = make()
      alive[builder.handle] = true
      local batch = builder:batch()
      batch:add { query_len = 3, seq_len = 3, blocks = { 2 } }
      return pick(assert(builder:build(batch)))
    end
    for what, pick in pairs {
      metadata = function(meta) return meta end,
      group = function(meta) return meta:group(0) end,
      tensor = function(meta) return meta.non_spec_state_indices_tensor end,
      conv_vector = function(meta) return meta.nums_dict[8].mlist end,
    } do
      local kept = one_view(pick)
      collect()
      assert.is_true(next(alive) ~= nil, what)
      kept = tostring(kept) -- the last use
      collect()
      collect()
      assert.is_nil(next(alive), what .. " " .. kept)
    end
  end)

  it("of builders that were only dropped end, too", function()
    local freed = setmetatable({}, { __mode = "k" })
    for _ = 1, 20 do
      local builder = make()
      local meta = assert(decode(builder, builder:batch(), 3))
      freed[builder.handle], freed[meta], freed[meta.non_spec_state_indices_tensor] = true, true, true
    end
    collect()
    collect()
    assert.is_nil(next(freed))
  end)
end)
