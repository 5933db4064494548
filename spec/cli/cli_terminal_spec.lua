-- The line that is drawn while a command works.
local terminal = require "gdnmeta.cli.terminal"

describe("The progress of a command #lua", function()
  it("is a bar of 28 characters where there is room", function()
    assert.are.equal("fcfs           [#######.....................] 1,000 of 4,000 requests",
      terminal.bar(80, "fcfs", 1000, 4000, "requests"))
    assert.are.equal("fcfs           [############################] 0 of 0 requests",
      (terminal.bar(80, "fcfs", 0, 0, "requests"):gsub("%.", "#")))
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
