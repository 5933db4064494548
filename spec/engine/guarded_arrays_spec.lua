-- Arrays between margins: every element of a margin is watched, the array that follows it is named, and the
-- margin is put right. What is written into the arrays themselves is nobody's business.
local guarded_arrays = require "gdnmeta.engine.guarded_arrays"

local NAMES, LENGTH, WIDE = { "a", "b", "c" }, 5, 16

describe("Arrays between margins", function()
  local target, margins
  before_each(function()
    target = {}
    margins = guarded_arrays.new(target, NAMES, LENGTH)
  end)

  it("lie one after the other, with a margin on both sides", function()
    for k = 2, #NAMES do assert.are.equal(LENGTH + WIDE, target[NAMES[k]] - target[NAMES[k - 1]]) end
    for _, name in ipairs(NAMES) do
      for at = 0, LENGTH - 1 do
        assert.are.equal(0, target[name][at])
        target[name][at] = -1
      end
    end
    assert.is_nil(margins:damaged())
    assert.are.equal(LENGTH, margins.length)
  end)

  it("say which was left, of every element of a margin", function()
    for k, name in ipairs(NAMES) do
      for by = 1, WIDE do
        local mark = target[name][-by]
        target[name][-by] = mark + 1
        assert.are.equal(name, margins:damaged())
        assert.are.equal(mark, target[name][-by])
        assert.is_nil(margins:damaged())
        target[name][LENGTH - 1 + by] = 0
        assert.are.equal(NAMES[k + 1] or name, margins:damaged())
        assert.is_nil(margins:damaged())
      end
    end
  end)

  it("name the first of several, and put all right", function()
    target.c[LENGTH], target.b[-1], target.c[-1] = 1, 1, 1
    assert.are.equal("b", margins:damaged())
    assert.is_nil(margins:damaged())
  end)
end)
