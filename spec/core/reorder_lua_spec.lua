-- gdn.reorder: the order of rows that strict rules want, and the swaps that lead there.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

-- Regions with threshold 2: 0 decode (computed >= prompt), 1 short extend, 2 long extend, 3 first chunk.
local function reorder(scheduled, computed, prompt)
  return gdn.reorder { decode_threshold = 2, num_scheduled = scheduled, num_computed = computed,
                       num_prompt = prompt }
end

describe("gdnmeta.reorder", function()
  it("leaves rows alone that stand well", function()
    assert.are.same({ modified = false, order = { 0, 1, 2, 3 }, swaps = {} },
                    reorder({ 1, 2, 5, 5 }, { 9, 3, 3, 0 }, { 4, 8, 8, 5 }))
    assert.are.same({ modified = false, order = {}, swaps = {} }, reorder({}, {}, {}))
  end)

  it("exchanges two rows", function()
    -- Regions 3, 0: the decode at 1 is the first of Q, and goes to 0.
    assert.are.same({ modified = true, order = { 1, 0 }, swaps = { { 1, 0 } } },
                    reorder({ 6, 2 }, { 0, 9 }, { 6, 9 }))
  end)

  it("follows a cycle", function()
    -- Regions 3, 2, 0, 1; wanted 0, 1, 2, 3. Q = 2, 3, 1, 0 goes to P = 0, 1, 2, 3:
    -- from 2 to 0, what was there to 3, what was there to 1.
    local result = reorder({ 5, 5, 1, 1 }, { 0, 3, 9, 3 }, { 5, 8, 9, 8 })
    assert.are.same({ modified = true, order = { 2, 3, 1, 0 }, swaps = { { 2, 0 }, { 2, 3 }, { 2, 1 } } },
                    result)
    local rows = { [0] = 0, 1, 2, 3 }
    for _, pair in ipairs(result.swaps) do
      rows[pair[1]], rows[pair[2]] = rows[pair[2]], rows[pair[1]]
    end
    assert.are.same(result.order, { rows[0], rows[1], rows[2], rows[3] })
  end)

  it("moves rows of every region, in the order of their sources", function()
    -- Regions 1, 1, 2, 2, 3, 3, 0, 0: two cycles of four, 6 > 0 > 2 > 4 and 7 > 1 > 3 > 5.
    assert.are.same({ modified = true, order = { 6, 7, 0, 1, 2, 3, 4, 5 },
                      swaps = { { 6, 0 }, { 6, 2 }, { 6, 4 }, { 7, 1 }, { 7, 3 }, { 7, 5 } } },
                    reorder({ 1, 1, 5, 5, 5, 5, 1, 1 }, { 3, 3, 3, 3, 0, 0, 9, 9 },
                            { 8, 8, 8, 8, 5, 5, 9, 9 }))
  end)

  it("lets rows be that lie within their region", function()
    assert.are.same({ modified = true, order = { 5, 1, 2, 3, 4, 0 }, swaps = { { 5, 0 } } },
                    reorder({ 5, 1, 1, 1, 1, 1 }, { 0, 9, 9, 9, 9, 9 }, { 5, 9, 9, 9, 9, 9 }))
  end)

  it("draws the line between short and long extends at the threshold", function()
    local inputs = { num_scheduled = { 3, 2 }, num_computed = { 1, 1 }, num_prompt = { 9, 9 } }
    inputs.decode_threshold = 2
    assert.is_true(gdn.reorder(inputs).modified)
    inputs.decode_threshold = 3
    assert.is_false(gdn.reorder(inputs).modified)
    inputs.decode_threshold = 0
    assert.is_false(gdn.reorder(inputs).modified)
  end)

  it("takes int32_t arrays, too", function()
    local result = reorder(ffi.new("int32_t[2]", 6, 2), int32s(2, { 0, 9 }),
                           ffi.new("const int32_t[2]", 6, 9))
    assert.are.same({ { 1, 0 } }, result.swaps)
  end)

  it("refuses anything else by name, at the caller's line", function()
    local ones = { 1, 1 }
    raises("gdnmeta.reorder: inputs = nil, want a table", function() gdn.reorder() end)
    raises("gdnmeta.reorder: unknown input threshold", function() gdn.reorder { threshold = 1 } end)
    raises("gdnmeta.reorder: decode_threshold = nil, want an integer in 0 .. 2147483647",
           function() gdn.reorder {} end)
    raises("gdnmeta.reorder: decode_threshold = -1, want an integer in 0 .. 2147483647",
           function() gdn.reorder { decode_threshold = -1 } end)
    raises('gdnmeta.reorder: num_scheduled = "1", want a list or an int32_t array',
           function() reorder("1", ones, ones) end)
    raises("gdnmeta.reorder: num_computed = cdata double [2], want a list or an int32_t array",
           function() reorder(ones, ffi.new "double[2]", ones) end)
    raises("gdnmeta.reorder: num_prompt = nil, want a list or an int32_t array",
           function() reorder(ones, ones, nil) end)
    raises("gdnmeta.reorder: num_computed has 1 elements, want 2", function() reorder(ones, { 1 }, ones) end)
    raises("gdnmeta.reorder: num_prompt[2] = 2147483648, want an integer in -2147483648 .. 2147483647",
           function() reorder(ones, ones, { 1, 2^31 }) end)
    raises("gdnmeta.reorder: num_scheduled[1] = nan, want an integer in -2147483648 .. 2147483647",
           function() reorder({ 0 / 0, 1 }, ones, ones) end)
  end)
end)
