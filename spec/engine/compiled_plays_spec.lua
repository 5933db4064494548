-- What LuaJIT compiles does what is written: plays of engines of every make, with all that a host may do,
-- come to the same sums of everything that can be seen, compiled and interpreted. In processes of their own,
-- as traces belong to the VM: all plays of a process share them.
local FIRST, LAST = 101, 110 -- others than those of engine_plays_spec.lua

-- By when loops and exits are hot, other pieces are compiled, and end elsewhere. With the second nearly all
-- is compiled at once, and thrown away now and then.
local WAYS = { "", "-Ohotloop=2 -Ohotexit=1" }

local function plays(options)
  local pipe = io.popen(("luajit %s spec/support/print_plays.lua %d %d 2>&1"):format(options, FIRST, LAST))
  local out = pipe:read "*a"
  pipe:close()
  local _, lines = out:gsub("\n", "\n")
  assert(lines == LAST - FIRST + 1, out)
  return out
end

describe("Plays of engines, compiled #jit", function()
  it("come to the sums that they come to where they are interpreted", function()
    local interpreted = plays "-joff"
    for _, options in ipairs(WAYS) do assert.are.equal(interpreted, plays(options), options) end
  end)
end)
