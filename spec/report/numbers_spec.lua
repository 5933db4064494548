-- Numbers in reports: digits, percent, columns.
local numbers = require "gdnmeta.sim.numbers"

describe("A share #lua", function()
  it("is of the whole, and 0 of nothing", function()
    local share = numbers.share
    assert.are.same({ 0, 0, 1, 0.5, 3, 0.25 },
      { share(0, 0), share(0, 1), share(1, 1), share(1, 2), share(3, 1), share(0.5, 2) })
  end)
end)

describe("figures #lua", function()
  it("are counted in groups of three", function()
    assert.are.same({ "0", "999", "1,000", "26,431,169", "-1,234" },
      { numbers.count(0), numbers.count(999), numbers.count(1000), numbers.count(26431169),
        numbers.count(-1234) })
  end)

  it("have about three digits", function()
    local shown = {}
    for i, x in ipairs { 0, 0.0123, 0.1, 0.5, 3.456, 9.994, 9.996, 45.67, 99.94, 99.96, 12345,
                       -3.456 } do
      shown[i] = numbers.number(x)
    end
    assert.are.same({ "0", "0.012", "0.10", "0.50", "3.46", "9.99", "10.0", "45.7", "99.9", "100", "12,345",
                      "-3.46" }, shown)
    assert.are.equal("-", numbers.number(nil))
    assert.are.equal("-", numbers.number(0/0))
  end)

  it("are percent of one", function()
    assert.are.same({ "0", "0.12", "12.3", "99.9", "100", "-" },
      { numbers.percent(0), numbers.percent(0.0012), numbers.percent(0.1234), numbers.percent(0.999),
        numbers.percent(0.99999), numbers.percent(nil) })
  end)

  it("stand side by side with the decimals of the one that has most", function()
    assert.are.same({ "12,345.00", "3.46", "-", "0.00", "-1,234.50" },
      numbers.alike(numbers.number, { 12345, 3.456, nil, 0, -1234.5 }, 5))
    assert.are.same({ "2,208", "704" }, numbers.alike(numbers.number, { 2208.4, 703.9 }, 2))
    assert.are.same({ "100.0", "12.3", "0.0" }, numbers.alike(numbers.percent, { 1, 0.1234, 0 }, 3))
    assert.are.same({ "1,000", "0" }, numbers.alike(numbers.count, { 1000, 0 }, 2))
    assert.are.same({ "-", "-" }, numbers.alike(numbers.number, {}, 2))
  end)

  it("that round to nothing have no sign", function()
    assert.are.same({ "0.0", "-0.1", "0" },
      { numbers.count(-0.04, 1), numbers.count(-0.06, 1), numbers.count(-0.4) })
  end)

  it("stand in columns, the first to the left", function()
    assert.are.equal("a     1  22\nHead, which is long\nbbb  10   2",
      numbers.columns { { "a", "1", "22" }, { "Head, which is long" }, { "bbb", "10", "2" } })
  end)
end)
