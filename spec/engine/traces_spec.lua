-- Steps of ever changing shapes fit what LuaJIT keeps by default: machine code is not thrown away, and made
-- again, all the time. In processes of their own, so that only the engine's code is counted.
local LIMIT = 2 -- flushes in 20,000 steps

local function flushes_of(policy)
  local pipe = io.popen(("luajit spec/support/shapes.lua %s 20000 0.1,0.3,0.05"):format(policy))
  local out = pipe:read "*a"
  pipe:close()
  return assert(tonumber(out:match "^%d+"), out)
end

describe("The code of a step #jit", function()
  -- LuaJIT chooses traces by addresses, which a process draws: under `priority` 0 to 3 flushes, 3 of them in
  -- one process of eleven. So where one has too many, the middle of five decides.
  for _, policy in ipairs { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" } do
    it("is thrown away once in 10,000 steps of changing shapes at most, under " .. policy, function()
      local seen = { flushes_of(policy) }
      if seen[1] <= LIMIT then return end
      for n = 2, 5 do seen[n] = flushes_of(policy) end
      table.sort(seen)
      assert.is_true(seen[3] <= LIMIT, table.concat(seen, ", ") .. " flushes")
    end)
  end

  -- 74, or up to 320 where steps of changing shapes came first; without joints 530 to 570.
  it("is compiled, but for the reserve of stack, in steps like the one before", function()
    for _, case in ipairs { { "fcfs", 0, 200 }, { "fcfs", 300, 450 }, { "fair", 300, 450 } } do
      local pipe = io.popen(("luajit spec/support/uncompiled_step.lua %s %d"):format(case[1], case[2]))
      local out = pipe:read "*a"
      pipe:close()
      local count = tonumber(out:match "^%d+")
      assert.truthy(count, out)
      assert.is_true(count <= case[3], ("%s, %d steps before: %d bytecodes"):format(case[1], case[2], count))
    end
  end)

  -- 17; where cut() ends the traces of its ways 44, and 84 where nothing ends them.
  it("is compiled whichever way a piece takes", function()
    local pipe = io.popen "luajit spec/support/uncompiled_piece.lua"
    local out = pipe:read "*a"
    pipe:close()
    local count = tonumber(out:match "^%d+")
    assert.truthy(count, out)
    assert.is_true(count <= 25, count .. " bytecodes a call")
  end)

  it("is in pieces with a state cache alone", function()
    local function f(a, b) return b, a, a + b end
    local chosen = require("gdnmeta.native.trace_cuts").with_cache(f)
    assert.equal(f, chosen(false))
    assert.not_equal(f, chosen {})
    assert.are.same({ 3, 2, 5 }, { chosen {} (2, 3) })
  end)

  -- 74, or 171 where LuaJIT chose other traces; 157 to 210 where cut() ends what a cache begins a step with.
  it("is compiled in steps like the one before with a state cache, too", function()
    local least = math.huge
    for _ = 1, 6 do
      local pipe = io.popen "luajit spec/support/uncompiled_step.lua fcfs 0 cached"
      local out = pipe:read "*a"
      pipe:close()
      local count = tonumber(out:match "^%d+")
      assert.truthy(count, out)
      least = math.min(least, count)
      if least <= 130 then break end
    end
    assert.is_true(least <= 130, least .. " bytecodes")
  end)

  -- 0 flushes, 60 to 150 bytes; with loops over groups and over orders of chunks it was 0 to 4, 400 to 700.
  -- With a list of its own for each call of ctx.every() 480, under every_block.
  for _, cache in ipairs { "gdsf", "every_block" } do
    it("stays, and leaves next to no garbage, with a state cache whose hooks decide: " .. cache, function()
      local pipe = io.popen(("luajit spec/support/cached_shapes.lua %s 16000"):format(cache))
      local out = pipe:read "*a"
      pipe:close()
      local flushes, bytes = out:match "^(%d+)%s+(%d+)"
      assert.truthy(flushes, out)
      assert.is_true(tonumber(flushes) <= 1, flushes .. " flushes")
      assert.is_true(tonumber(bytes) <= 250, bytes .. " bytes a step")
    end)
  end

  it("has room in hosts of ours: the limits of LuaJIT are raised there", function()
    local seen = {}
    local start = jit.opt.start
    jit.opt.start = function(...) seen = { ... } end -- luacheck: ignore
    require("gdnmeta.native.trace_cuts").raise_limits()
    jit.opt.start = start -- luacheck: ignore
    assert.are.same({ "maxtrace=8000", "maxmcode=40960" }, seen)
    for _, path in ipairs { "bin/gdnmeta", "examples/nginx/worker.lua" } do
      local file = assert(io.open(path))
      assert.truthy(file:read("*a"):find("raise_limits()", 1, true), path)
      file:close()
    end
  end)
end)
