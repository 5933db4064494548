-- The line that is drawn while a command works.
local golden = require "spec.support.golden"
local terminal = require "gdnmeta.cli.terminal"

describe("The progress of a command #lua", function()
  it("is a bar of 28 characters where there is room", function()
    assert.are.equal("fcfs           [#######.....................] 1,000 of 4,000 requests",
      terminal.bar(80, "fcfs", 1000, 4000, "requests"))
    assert.are.equal("fcfs           [############################] 0 of 0 requests",
      (terminal.bar(80, "fcfs", 0, 0, "requests"):gsub("%.", "#")))
  end)

  it("is as wide as there is room for, down to a bar of six characters", function()
    local parts, before = {}, nil
    for width = 0, 70 do
      for _, name in ipairs { "a", "longer than others" } do
        for _, count in ipairs { { 0, 0 }, { 1, 3 }, { 9, 7 } } do
          local line = terminal.bar(width, name, count[1], count[2], "runs")
          parts[#parts + 1] = line ~= before and ("%d: %s"):format(width, line) or nil
          before = line
        end
      end
    end
    golden("cli-bars", table.concat(parts, "\n") .. "\n")
  end)

  it("gives up the bar, then the name, then the unit where there is less", function()
    local lines = {}
    for i, width in ipairs { 60, 46, 40, 30, 20, 8, 1 } do
      lines[i] = terminal.bar(width, "fcfs", 1000, 4000, "requests")
    end
    assert.are.same({ "fcfs           [####..............] 1,000 of 4,000 requests",
      "fcfs 1,000 of 4,000 requests", "fcfs 1,000 of 4,000 requests", "fcfs 1,000 of 4,000 requests",
      "1,000 of 4,000", "1,000 o", "" }, lines)
  end)

  it("never reaches the last column, whatever the name and the counts", function()
    for width = 1, 200 do
      for _, name in ipairs { "", "fcfs", ("long"):rep(20) } do
        for _, total in ipairs { 0, 7, 123456789 } do
          local line = terminal.bar(width, name, 2 * total, total, "requests")
          assert.is_true(#line < width, ("%d: %q"):format(width, line))
        end
      end
    end
  end)
end)

-- A terminal that is made up: what is one, how wide it is, what time it is, and what was written to it.
describe("A terminal #lua", function()
  local MODULES = { "gdnmeta.native.libc", "gdnmeta.sim.wall_clock", "gdnmeta.cli.terminal" }
  local was, made, is_terminal, columns, now, written, stderr
  before_each(function()
    was, written, is_terminal, columns, now, stderr = {}, {}, {}, false, 0, io.stderr
    for _, name in ipairs(MODULES) do was[name] = package.loaded[name] end
    package.loaded["gdnmeta.native.libc"] = {
      libc_isatty = function(descriptor) return is_terminal[descriptor] or 0 end,
      libc_ioctl = function(descriptor, request, size)
        assert.are.same({ 2, 0x5413 }, { descriptor, request })
        if not columns then return -1 end
        size.columns = columns
        return 0
      end,
    }
    package.loaded["gdnmeta.sim.wall_clock"] = function() return now end
    package.loaded["gdnmeta.cli.terminal"] = nil
    made = require "gdnmeta.cli.terminal"
    rawset(io, "stderr", {
      write = function(_, ...) written[#written + 1] = table.concat { ... } end,
      flush = function() written[#written] = written[#written] .. "<" end,
    })
  end)
  after_each(function()
    rawset(io, "stderr", stderr)
    for _, name in ipairs(MODULES) do package.loaded[name] = was[name] end
  end)

  it("has colours where stdout is one, knows some, and nobody objects", function()
    local getenv = os.getenv
    for _, case in ipairs { { 1, "xterm", nil, true }, { 1, "xterm", "", true }, { 1, "xterm", "1", false },
                            { 1, "dumb", nil, false }, { 1, nil, nil, false }, { 0, "xterm", nil, false } } do
      is_terminal = { [0] = 1, [1] = case[1], [2] = 1 }
      local env = stub(os, "getenv", function(name)
        if name == "TERM" then return case[2] end
        if name == "NO_COLOR" then return case[3] end
        return getenv(name)
      end)
      assert.are.equal(case[4], made.coloured())
      env:revert()
    end
    is_terminal = { 1 }
    assert.is_false(made.watched())
    is_terminal = { [2] = 1 }
    assert.is_true(made.watched())
  end)

  it("is drawn on ten times per second at most, and at once after a line that stays", function()
    is_terminal = { [2] = 1 }
    local progress, seen = made.progress(false), {}
    for tick = 0, 40 do
      now = tick * 1e7 + 5
      if tick == 23 then progress:say "a line" end
      local before = #written
      progress:show("n", tick, 40, "u")
      if #written > before then seen[#seen + 1] = tick end
    end
    assert.are.same({ 0, 10, 20, 23, 33 }, seen)
    assert.are.equal("\r\27[K" .. made.bar(80, "n", 0, 40, "u") .. "<", written[1])
    assert.are.equal("\r\27[Ka line\n", written[4])
    progress:clear()
    assert.are.equal("\r\27[K", written[#written])
  end)

  it("is as wide as it says, or 80", function()
    is_terminal = { [2] = 1 }
    for _, wide in ipairs { 30, 0, 1, 50 } do
      columns, written = wide, {}
      made.progress():show("name", 1, 2, "things")
      local line = made.bar(wide > 0 and wide or 80, "name", 1, 2, "things")
      assert.are.equal("\r\27[K" .. line .. "<", written[1])
    end
  end)

  it("gets lines alone where it is a pipe, none where all is quiet, and none that are endless", function()
    local pipe = made.progress(false)
    pipe:show("n", 1, 2, "u")
    pipe:say(("x"):rep(1000))
    pipe:say(("x"):rep(1001))
    pipe:clear()
    assert.are.same({ ("x"):rep(1000) .. "\n", ("x"):rep(1000) .. "...\n" }, written)
    written, is_terminal = {}, { [2] = 1 }
    local quiet = made.progress(true)
    quiet:show("n", 1, 2, "u")
    quiet:say "line"
    quiet:clear()
    assert.are.same({}, written)
  end)
end)
