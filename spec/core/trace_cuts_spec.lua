-- What pieces and joints are to their callers: the function itself, and nothing. traces_spec.lua says what
-- they are good for.
local trace_cuts = require "gdnmeta.native.trace_cuts"

local FUNCTIONS = {
  [0] = function() return 7 end,
  function(a) return a, 2 * a, 3 * a end,
  function(a, b) return a - b, a end,
  function(a, b, c) return a, b, c end,
  function(a, b, c, d) return a - b, c - d, a end,
  function(a, b, c, d, e) return a, b - c, d - e end,
  function(a, b, c, d, e, f) return a - b, c - d, e - f end,
}

describe("A piece of a step #lua", function()
  it("takes the arguments of its function, and returns what that does, compiled or not", function()
    for n, f in pairs(FUNCTIONS) do
      local piece = trace_cuts.piece(f)
      assert.are.equal(n, debug.getinfo(piece, "u").nparams)
      assert.is_false(debug.getinfo(piece, "u").isvararg)
      for turn = 1, 200 do
        local a, b, c = f(turn, 3, 50, 7, 900, 11)
        local x, y, z = piece(turn, 3, 50, 7, 900, 11)
        if x ~= a or y ~= b or z ~= c then
          assert.are.same({ a, b, c }, { x, y, z }, ("%d arguments, turn %d"):format(n, turn))
        end
      end
    end
  end)

  it("is a function of its own, and so is a joint, in the file that makes them", function()
    local file = debug.getinfo(trace_cuts.piece, "S").source
    local made = {}
    for k = 1, 2 do
      made[#made + 1] = trace_cuts.piece(FUNCTIONS[1])
      made[#made + 1] = trace_cuts.joint()
      made[#made + 1] = trace_cuts.last_joint()
      assert.are.equal(0, select("#", made[3 * k - 1]()))
      assert.are.equal(0, select("#", made[3 * k]()))
    end
    for n, f in ipairs(made) do
      assert.are.equal(file, debug.getinfo(f, "S").source)
      for other = 1, n - 1 do assert.are_not.equal(f, made[other]) end
    end
  end)
end)
