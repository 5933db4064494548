-- Values of traces: every date that there is, and none that there is not; numbers at their bounds.
local random = require "spec.support.random_config"
local values = require "gdnmeta.sim.trace.values"

local CASES = tonumber(os.getenv "GDN_CASES") or 2000
local SEED = tonumber(os.getenv "GDN_SEED") or os.time()

describe("A date of a trace", function()
  -- Days since 1970 by counting, one by one.
  local function every_day(visit)
    local day = 0
    for year = 1970, 2110 do
      for month, length in ipairs { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 } do
        local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
        if month == 2 and leap then length = 29 end
        for d = 1, length do
          visit(day, year, month, d, length)
          day = day + 1
        end
      end
    end
  end

  it("is the day that it is, for 140 years", function()
    local first
    every_day(function(day, y, m, d, length)
      local seconds, number = values.clock(("%d-%02d-%02d 00:00:00"):format(y, m, d))
      first = first or number
      local beyond = d == length and values.clock(("%d-%02d-%02d 00:00:00"):format(y, m, d + 1))
      if seconds ~= 0 or number ~= first + day or beyond then error(("%d-%02d-%02d"):format(y, m, d)) end
    end)
  end)

  it("has a time of the day, in a zone", function()
    local rand = random.rng(SEED)
    for case = 1, CASES do
      local h, m, s, zh, zm = rand(0, 23), rand(0, 59), rand(0, 59), rand(0, 14), rand(0, 59)
      local sign = rand(0, 1) == 0 and "+" or "-"
      local zone = ({ "%s%02d:%02d", "%s%02d%02d", " %s%02d:%02d" })[rand(1, 3)]:format(sign, zh, zm)
      local text = ("2024/3/%d%s%02d:%02d:%02d.5%s"):format(rand(1, 31), rand(0, 1) == 0 and "T" or " ", h, m,
        s, zone)
      local ahead = (zh * 60 + zm) * 60 * (sign == "-" and -1 or 1)
      assert.are.equal(h * 3600 + m * 60 + s + 0.5 - ahead, (values.clock(text)),
                       ("GDN_SEED=%d case %d: %s"):format(SEED, case, text))
    end
    local noon = 12 * 3600
    for _, zone in ipairs { "", "Z", "z", " UTC", "+00", "-00", "+00:00" } do
      assert.are.equal(noon, (values.clock("2024-01-31 12:00:00" .. zone)), zone)
      assert.are.equal(noon, (values.clock("2024-01-31 12:00" .. zone)), zone)
    end
    assert.are.equal(noon + 0.25, (values.clock "2024-01-31 12:00:00,25"))
    assert.are.equal(noon - 7200, (values.clock "2024-01-31 12:00+02"))
    local seconds, from = values.clock "2024-01-31 12:00:00"
    assert.are.same({ 86400 + 5, from }, { values.clock("2024-02-01 00:00:05", from) })
    assert.are.same({ -86400 * 31 + noon, from }, { values.clock("2023-12-31 12:00:00", from) })
    assert.are.equal(noon, seconds)
  end)

  it("is refused with any part out of its range, and taken at its ends", function()
    for _, text in ipairs { "2024-00-10 00:00:00", "2024-13-10 00:00:00", "2024-01-00 00:00:00",
      "2024-01-10 24:00:00", "2024-01-10 00:60:00", "2024-01-10 00:00:61", "2024-01-10", "24-01-10 00:00:00",
      "2024-01-10 00:00:00 EST", "2024-01-10 00:00:00+1", "2024-01-10 00:00:00+01:0",
      "2024-01-10 00:00:00+01:000", "2024-01-10 00:0", "x", "2024-01-10 00:00:00 +",
      "2100-02-29 00:00:00", "2023-02-29 00:00:00" } do
      assert.is_nil((values.clock(text)), text)
    end
    for _, text in ipairs { "2024-01-01 00:00:00", "2024-12-31 23:59:60.9", "2000-02-29 00:00:00" } do
      assert.is_number((values.clock(text)), text)
    end
  end)
end)

describe("A number of a trace", function()
  it("is one as people write it", function()
    local taken = { ["1"] = 1, ["+1.5"] = 1.5, ["-2e3"] = -2000, [".5"] = 0.5, ["5."] = 5, ["1E-2"] = 0.01 }
    for text, n in pairs(taken) do assert.are.equal(n, values.decimal(text), text) end
    assert.are.equal(3, values.decimal(3))
    for _, text in ipairs { "", "0x10", "nan", "inf", "1e999", "-", "1 ", "1,5", "e", 1 / 0, 0 / 0, true } do
      assert.is_nil(values.decimal(text), tostring(text))
    end
  end)

  it("has bounds that belong to it, and says them", function()
    assert.are.same({ -1, 2 }, { (values.number("x", "-1", -1, 2)), (values.number("x", 2, -1, 2)) })
    assert.are.same({ nil, "x = -1.5, want a number in -1 .. 2" }, { values.number("x", "-1.5", -1, 2) })
    assert.are.same({ nil, "x = 2.5, want a number in -1 .. 2" }, { values.number("x", 2.5, -1, 2) })
    assert.are.same({ nil, "x is missing, want a number in -1 .. 2" }, { values.number("x", nil, -1, 2) })
    local most = 2 ^ 30 - 1
    assert.are.same({ 0, 1, most }, { (values.tokens("n", 0)), (values.tokens("n", "1")),
                                      (values.tokens("n", most)) })
    for _, wrong in ipairs { -1, 0.5, most + 1 } do
      assert.are.same({ nil, ("n = %s, want an integer in 1 .. 1073741823"):format(tostring(wrong)) },
                      { values.tokens("n", wrong) })
    end
  end)

  it("is shown as it stands, in quotes where it would not stand out, and not all of a long one", function()
    for value, shown in pairs {
      ["abc"] = "abc", ["a b"] = "a b", [" a"] = '" a"', ["a "] = '"a "', [""] = '""', ["a\nb"] = '"a\\nb"',
      ["a\1b"] = '"a\\1b"', ['"'] = '"\\""', [("x"):rep(40)] = ("x"):rep(40),
      [("x"):rep(41)] = ("x"):rep(40) .. "...", [5] = "5", [true] = "true",
    } do
      assert.are.equal(shown, values.shown(value))
    end
    assert.are.same({ "a list", "null" }, { values.shown {}, values.shown(require("cjson").null) })
  end)
end)
