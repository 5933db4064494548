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

-- Bodies of the pieces in a source, or nil where one is made of anything but a function that stands there.
local function bodies(text)
  local list = {}
  text = text:gsub("local joint, piece = [^\n]*", ""):gsub("[%w_.]+%.piece\n", "")
  for at in text:gmatch "%f[%w_]piece()%(" do
    local body = text:match("^%b()", at):sub(2, -2)
    if not body:find "^function%(" then return nil end
    list[#list + 1] = body
  end
  return list
end

-- A level of error() that names a caller: of a piece that is the code in trace_cuts.lua.
local function blames_a_caller(body)
  for call in body:gmatch "%f[%w_]error%s*(%b())" do
    if call:find ",%s*[2-9]%s*%)$" then return true end
  end
  return false
end

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

  it("blames no caller for an error, for it would name the file that makes pieces", function()
    assert.are.same({ true, true, false, false }, {
      blames_a_caller 'function() error("x", 2) end', blames_a_caller 'function() error(f("x", 1), 3) end',
      blames_a_caller 'function() error("x", 0) end', blames_a_caller 'function() error(f("x", 2)) end',
    })
    assert.is_nil(bodies "local f = piece(g)\n")
    assert.are.same({ "function(a) return 2 end" }, bodies "local f = piece(function(a) return 2 end)\n")
    local found, files = 0, io.popen "grep -rl 'native.trace_cuts' lua/gdnmeta --include=*.lua"
    for path in files:lines() do
      local file = assert(io.open(path))
      local list = bodies(file:read "*a")
      file:close()
      assert.is_truthy(list, path .. ": a piece that is not made of a function in its place")
      for _, body in ipairs(list) do
        found = found + 1
        assert.is_false(blames_a_caller(body), path .. ": " .. body)
      end
    end
    files:close()
    assert.is_true(found >= 14, found .. " pieces")
  end)
end)
