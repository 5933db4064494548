-- Parts of the metrics by themselves, over whole ranges: texts that are UTF-8, bounds, numbers and labels,
-- against spec/goldens/texts.
local classes = require "gdnmeta.metrics.classes"
local golden = require "spec.support.golden"
local histogram = require "gdnmeta.metrics.histogram"
local options = require "gdnmeta.metrics.options"
local text = require "gdnmeta.metrics.text"

-- Lead bytes after which `rest` is whole, as ranges.
local function leads(rest)
  local parts, from = {}, nil
  for lead = 0, 256 do
    local ok = lead < 256 and classes.is_utf8(string.char(lead) .. rest)
    if ok and not from then from = lead end
    if not ok and from then
      parts[#parts + 1] = ("%02x-%02x"):format(from, lead - 1)
      from = nil
    end
  end
  return table.concat(parts, " ")
end

describe("Of the metrics #lua", function()
  it("names of classes are UTF-8, or of others", function()
    local lines, EDGES = {}, { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff }
    for n = 0, 4 do
      for _, second in ipairs(n > 0 and EDGES or { 0 }) do
        for _, last in ipairs(n > 1 and { 0x7f, 0x80, 0xbf, 0xc0 } or { 0 }) do
          local rest = n == 0 and "" or string.char(second) .. ("\128"):rep(n - 2)
          if n > 1 then rest = rest .. string.char(last) end
          lines[#lines + 1] = ("%s: %s"):format(rest:gsub(".",
            function(c) return ("%02x "):format(c:byte()) end),
            leads(rest))
        end
      end
    end
    local list = classes.new(3)
    for _, name in ipairs { "a", 7, "b", "other", "c", "d", "\255", ("x"):rep(64), 7.5, "a" } do
      lines[#lines + 1] = ("%q %d %d"):format(name, list:series(name, true), list:series(name))
    end
    list = classes.new(9)
    for _, n in ipairs { 64, 65 } do lines[#lines + 1] = n .. " bytes: " .. list:series(("x"):rep(n)) end
    golden("metrics-classes", table.concat(lines, "\n") .. "\n")
  end)

  it("labels have names and texts of these kinds, and are those that were given", function()
    local lines = {}
    for _, name in ipairs { "a", "_", "_a", "__a", "a__", "A1", "1a", "a-b", "a b", "", "class", "outcome",
                            "le", "les", "\195\164", 7, true } do
      local o, problem = options.read { labels = { [name] = "x" } }
      lines[#lines + 1] = ("%s: %s"):format(tostring(name), problem or next(o.labels) == name and "taken")
    end
    for _, value in ipairs { "", ("x"):rep(63), ("x"):rep(64), ("x"):rep(65), "\255", "a\nb", 7, false } do
      local o, problem = options.read { labels = { a = value } }
      lines[#lines + 1] = ("%q: %s"):format(tostring(value), problem or o.labels.a == value and "taken")
    end
    golden("metrics-labels", table.concat(lines, "\n"):gsub("[\128-\255]", "?") .. "\n")
    local given = { a = "x" }
    local o = assert(options.read { labels = given })
    given.b = "\255"
    assert.are.same({ a = "x" }, o.labels)
  end)

  it("there are 16 classes where none says how many, and 1 to 1000 where it does", function()
    assert.are.same({ classes = 16, labels = {} }, options.read())
    for _, n in ipairs { 1, 1000 } do assert.are.equal(n, assert(options.read { classes = n }).classes) end
    for _, n in ipairs { 0, 1001, 1.5 } do
      local o, problem = options.read { classes = n }
      assert.is_nil(o)
      assert.matches("^classes = [%d.]+, want an integer in 1 .. 1000$", problem)
    end
  end)

  it("times are counted between bounds", function()
    local lines = {}
    for _, range in ipairs { { 1e-6, 1 }, { 1e-4, 10 }, { 1e-3, 1000 }, { 1, 0.5 }, { 10, 24.9 }, { 10,
      25 } } do
      local bounds, texts = histogram.bounds(range[1], range[2]), {}
      for i, bound in ipairs(bounds) do texts[i] = ("%.17g"):format(bound) end
      lines[#lines + 1] = table.concat(texts, " ")
    end
    local h = histogram.new({ 1, 2, 5 }, 3)
    for _, value in ipairs { -1, 0, 1, 1.5, 2, 2.5, 5, 6, 1e9 } do
      h:observe(1, value)
      h:observe(2, value / 2)
      local page = text.new { z = 'q"\\\n', a = "x" }
      page:family("t", "histogram", "Help.")
      for series = 0, 2 do page:histogram(h, series, series > 0 and "class" or nil,
        series > 0 and "c" or nil) end
      lines[#lines + 1] = ("%g: %d %d %d\n%s"):format(value, h:total(0), h:total(1), h:total(2), page:close())
    end
    local page = text.new {}
    page:family("n", "gauge", "Help.")
    for _, value in ipairs { 0, 1, -1, 0.1, 1 / 3, 2 ^ 53, 2 ^ 53 - 1, 1e300, 0.1 + 0.2 } do
      page:sample(value)
      page:sample(value, "a", "b", "c", "d")
    end
    lines[#lines + 1] = page:close()
    golden("metrics-times", table.concat(lines, "\n") .. "\n")
  end)
end)
