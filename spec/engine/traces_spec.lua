-- Steps of ever changing shapes fit what LuaJIT keeps by default: machine code is not thrown away, and made
-- again, all the time. In processes of their own, so that only the engine's code is counted.
local LIMIT = 3 -- flushes in 20,000 steps

local function flushes_of(policy)
  local pipe = io.popen(("luajit spec/support/shapes.lua %s 20000 0.1,0.3,0.05"):format(policy))
  local out = pipe:read "*a"
  pipe:close()
  return assert(tonumber(out:match "^%d+"), out)
end

describe("The code of a step #jit", function()
  -- LuaJIT chooses traces by addresses, which a process draws: under `fair` 1 to 4 flushes, 4 of them in one
  -- process of ten. So where one has too many, the middle of nine decides.
  for _, policy in ipairs { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" } do
    it("is seldom thrown away in steps of changing shapes, under " .. policy, function()
      local seen = { flushes_of(policy) }
      if seen[1] <= LIMIT then return end
      for n = 2, 9 do seen[n] = flushes_of(policy) end
      table.sort(seen)
      assert.is_true(seen[5] <= LIMIT, table.concat(seen, ", ") .. " flushes")
    end)
  end

  local function uncompiled(arguments)
    local pipe = io.popen("luajit spec/support/uncompiled_step.lua " .. arguments)
    local out = pipe:read "*a"
    pipe:close()
    return assert(tonumber(out:match "^%d+"), out)
  end

  -- LuaJIT chooses traces by addresses, as above: so it is the least of some processes.
  local function at_most(most, arguments)
    local seen = {}
    for n = 1, 6 do
      seen[n] = uncompiled(arguments)
      if seen[n] <= most then return end
    end
    error(("%s: %s bytecodes, want %d"):format(arguments, table.concat(seen, ", "), most), 2)
  end

  -- 72, most of them the reserve of stack; where steps of changing shapes came first up to 330. Without
  -- joints 530 to 570.
  it("is compiled in steps like the one before", function()
    at_most(130, "fcfs 0")
    at_most(130, "fcfs 0 cached")
    at_most(400, "fcfs 300")
    at_most(400, "fair 300")
  end)

  -- 72 to 120, up to 235 after changing shapes; 590 to 860 where a joint or a piece ends no trace. `fair` has
  -- a hook that is asked for every request: about 400, and 990.
  it("is compiled in steps in which requests come and go", function()
    at_most(150, "fcfs 0 busy")
    at_most(150, "fcfs 0 cached busy")
    at_most(250, "fcfs 300 busy")
    at_most(250, "fcfs 300 cached busy")
    at_most(500, "fair 0 busy")
  end)

  -- 10; without an end for the traces of its ways 10 to 104, by what LuaJIT chose.
  it("is compiled whichever way a piece takes", function()
    local pipe = io.popen "luajit spec/support/uncompiled_piece.lua"
    local out = pipe:read "*a"
    pipe:close()
    local count = tonumber(out:match "^%d+")
    assert.truthy(count, out)
    assert.is_true(count <= 20, count .. " bytecodes a call")
  end)

  it("is the same as a piece, with all arguments and up to three results", function()
    local function f(a, b, c) return b, a, a + c end
    assert.are.same({ 3, 2, 7 }, { require("gdnmeta.native.trace_cuts").piece(f)(2, 3, 5) })
  end)

  -- 0 or 1 flushes, 60 to 160 bytes; with loops over groups and over orders of chunks it was 0 to 4, 400 to
  -- 700. With a list of its own for each call of ctx.every() 480, under every_block. By what a process draws,
  -- as above: where the first has more, two others decide.
  for _, cache in ipairs { "gdsf", "every_block" } do
    it("stays, and leaves next to no garbage, with a state cache whose hooks decide: " .. cache, function()
      local good, seen = 0, {}
      for n = 1, 3 do
        local pipe = io.popen(("luajit spec/support/cached_shapes.lua %s 16000"):format(cache))
        seen[n] = pipe:read "*a"
        pipe:close()
        local flushes, bytes = seen[n]:match "^(%d+)%s+(%d+)"
        assert.truthy(flushes, seen[n])
        good = good + (tonumber(flushes) <= 1 and tonumber(bytes) <= 250 and 1 or 0)
        if good == n or good == 2 then break end
      end
      assert.is_true(good == #seen or good == 2, "flushes, bytes a step: " .. table.concat(seen, ", "))
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
