-- Arrays of a length known at run time have their elements, also where compiled loops put allocations off.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"

-- Arrays that compiled loops need at their exits alone; how many had another size than `n` elements.
local function wrong_sizes(new, element, n)
  local wrong, size = 0, n * ffi.sizeof(element)
  local function filled()
    local array = new(n)
    array[0] = 1
    if n > 1 then array[1] = 2 end
    return array
  end
  for i = 1, 400 do
    local array = filled()
    if i % 20 == 0 and ffi.sizeof(array) ~= size then wrong = wrong + 1 end
  end
  return wrong
end

describe("Arrays of array_of", function()
  it("have all their elements when a compiled loop is left", function()
    for _, element in ipairs { "int8_t", "int32_t", "int64_t", "double" } do
      for n = 1, 3 do assert.are.equal(0, wrong_sizes(gdn.array_of(element), element, n), element .. n) end
    end
  end)

  it("are zero, or hold what follows the length", function()
    local int32s = gdn.array_of "int32_t"
    for _ = 1, 50 do -- what was freed is no zero
      local used = int32s(3, -1)
      assert.are.equal(-1, used[2])
    end
    collectgarbage()
    local zeros, list, same = int32s(3), int32s(3, { 4, 5 }), int32s(3, 6)
    assert.are.same({ 0, 0, 0, 4, 5, 0 }, { zeros[0], zeros[1], zeros[2], list[0], list[1], list[2] })
    assert.are.same({ 6, 6, 6 }, { same[0], same[1], same[2] })
    assert.are.equal(0, ffi.sizeof(int32s(0)))
    raises("gdnmeta.array_of: a list of 2 for 1 elements", function() int32s(1, { 1, 2 }) end)
    raises("gdnmeta.array_of: element = 5, want a C type", function() gdn.array_of(5) end)
  end)

  it("are the only arrays of this kind in the project", function()
    local pipe = io.popen "grep -rnF --exclude-dir=goldens '[?]' lua spec examples bench fuzz docs README.md"
    local allowed = { ["lua/gdnmeta/array_of.lua"] = true, ["spec/core/array_of_spec.lua"] = true,
                      ["docs/api.md"] = true }
    for line in pipe:lines() do assert.is_true(allowed[line:match "^[^:]+"] or false, line) end
    pipe:close()
  end)
end)
