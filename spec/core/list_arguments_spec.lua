-- Lists that hosts pass: with elements missing, or with metatables whose code runs in the middle of a call.
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local INT32 = "an integer in -2147483648 .. 2147483647"

local function make(options)
  options.device = "cpu"
  return assert(gdn.builder(options))
end

describe("a list with an element missing", function()
  it("is refused by name, and nothing of it is written", function()
    local builder = make { max_num_seqs = 4, num_speculative_tokens = 3 }
    local batch, cells = builder:batch(), builder:table(0)
    builder:set_blocks(0, 0, { 4, 5, 6, 7 })
    for _, last in ipairs { 3, 2^32 + 7, 9.7, "x", {} } do
      for _, list in ipairs { { 1, nil, last }, { 1, [3] = last }, { 1, nil, nil, last } } do
        raises("gdnmeta.Builder:set_blocks: blocks[2] = nil, want " .. INT32,
               function() builder:set_blocks(0, 0, list) end)
        raises("gdnmeta.Batch:add: blocks[2] = nil, want " .. INT32,
               function() batch:add { query_len = 1, seq_len = 1, blocks = list } end)
      end
    end
    raises("gdnmeta.Builder:set_blocks: blocks[2] = nil, want " .. INT32,
           function() builder:set_blocks(0, 0, { 1, [1.5] = 3 }) end)
    assert.are.same({ 4, 5, 6, 7 }, { cells[0], cells[1], cells[2], cells[3] })
    assert.are.same({ 0, 0, 0 }, { batch.num_rows, batch.rows.blocks[0], batch.rows.blocks[2] })
    builder:close()
  end)

  it("is refused however far the next one is, before memory is asked for", function()
    local builder = make {}
    for _, far in ipairs { 4, 2^30, 2^40, math.huge } do
      local lengths = { query_start_loc = { 0, 1 }, seq_lens = { 9, [far] = 1 } }
      raises("gdnmeta.Builder:build_raw: seq_lens[2] = nil, want " .. INT32,
             function() builder:build_raw(lengths) end)
      local tables = { query_start_loc = { 0, 1 }, seq_lens = { 9 }, block_table = { { 1 }, [far] = { 2 } } }
      raises("gdnmeta.Builder:build_raw: block_table[2] = nil, want a list",
             function() builder:build_raw(tables) end)
    end
    local done = { query_start_loc = { 0, 1 }, seq_lens = { 9 }, prompt_done = { true, nil, true } }
    raises("gdnmeta.Builder:build_raw: prompt_done[2] = nil, want " .. INT32,
           function() builder:build_raw(done) end)
    local rows = { decode_threshold = 1, num_scheduled = {}, num_computed = {}, num_prompt = { nil, 1 } }
    raises("gdnmeta.reorder: num_prompt[1] = nil, want " .. INT32, function() gdn.reorder(rows) end)
    builder:close()
  end)
end)

describe("a metamethod", function()
  local builder, batch
  before_each(function()
    builder = make { max_num_seqs = 4, num_speculative_tokens = 3 }
    batch = builder:batch()
  end)
  after_each(function() builder:close() end)

  it("of a list is not called", function()
    local calls = 0
    local function count() calls = calls + 1 return 9 end
    local counted = { __index = count, __len = count }
    local list, full = setmetatable({ 1 }, counted), setmetatable({ 1, 2, 3, 4 }, counted)
    builder:set_blocks(0, 0, list)
    batch:add { query_len = 1, seq_len = 5, prompt_done = true, blocks = list }
    assert(builder:build_raw { query_start_loc = { 0, 1 }, seq_lens = { 5 }, block_table = { full } })
    assert.are.equal(0, calls)
    assert.are.same({ 1, 0 }, { batch.rows.blocks[0], batch.rows.blocks[1] })
  end)

  it("of a row may close the batch", function()
    for _, field in ipairs { "read_column", "drafts", "blocks" } do
      local mine = builder:batch()
      local row = { query_len = 1, seq_len = 5, blocks = field ~= "blocks" and { 7 } or nil }
      setmetatable(row, { __index = function(_, name) if name == field then mine:close() end end })
      raises("gdnmeta.Batch: closed", function() mine:add(row) end)
    end
  end)

  it("of a row may write another row first, or yield", function()
    local row = { query_len = 1, seq_len = 5, blocks = { 7, 8 } }
    setmetatable(row, { __index = function(_, name) if name == "drafts" then coroutine.yield() end end })
    local add = coroutine.wrap(function() return batch:add(row) end)
    add()
    assert.are.equal(0, batch:add { query_len = 2, seq_len = 6, blocks = { 3, 4, 5, 6 } })
    assert.are.equal(1, add())
    local blocks = batch.rows.blocks
    assert.are.same({ 3, 4, 5, 6, 7, 8, 0 },
                    { blocks[0], blocks[1], blocks[2], blocks[3], blocks[4], blocks[5], blocks[6] })
    assert.are.same({ 2, 1 }, { batch.rows.query_len[0], batch.rows.query_len[1] })
  end)

  it("of inputs may hand out arrays that nothing else holds, once each", function()
    local alive, asked = setmetatable({}, { __mode = "k" }), {}
    local inputs = setmetatable({}, { __index = function(_, name)
      asked[name] = (asked[name] or 0) + 1
      local n = ({ query_start_loc = 2, seq_lens = 1 })[name]
      if n then
        local array = int32s(n)
        array[n - 1], alive[array] = 1, name
        return array
      elseif name == "num_reqs" then
        return asked[name] == 1 and 1 or "x"
      elseif name == "block_table" then
        collectgarbage()
        collectgarbage()
        return { { 5, 6, 7, 8 } }
      end
    end })
    local held = assert(builder:build_raw(inputs))
    collectgarbage()
    collectgarbage()
    local names = {}
    for _, name in pairs(alive) do names[name] = true end
    assert.are.same({ query_start_loc = true, seq_lens = true }, names)
    for name, times in pairs(asked) do assert.are.equal(1, times, name) end
    assert.are.equal(1, held.num_prefills)
  end)

  it("of inputs may close the builder, or build", function()
    local good = { query_start_loc = { 0, 1 }, seq_lens = { 5 }, block_table = { { 1, 2, 3, 4 } } }
    local other = { query_start_loc = { 0, 2, 4 }, seq_lens = { 2, 2 },
                    block_table = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } } }
    local act
    local inputs = setmetatable({}, { __index = function(_, name)
      act()
      return good[name]
    end })
    act = function() assert(builder:build_raw(other)) end
    assert.are.same({ 0, 1 }, assert(builder:build_raw(inputs)).non_spec_query_start_loc:totable())
    act = function() builder:close() end
    raises("gdnmeta.Builder: closed", function() builder:build_raw(inputs) end)
  end)
end)
