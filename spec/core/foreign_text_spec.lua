-- Words that come from outside as our messages show them: every length around each bound, and every kind of
-- byte and character, against spec/goldens/texts and the rules of UTF-8.
local foreign_text = require "gdnmeta.native.foreign_text"
local noted = require "spec.support.noted"

local notes = noted.new "foreign-"

-- Bytes as digits where they are no letters.
local function plain(text)
  return (text:gsub("[%z\1-\31\127-\255]", function(c) return ("<%02x>"):format(c:byte()) end))
end

-- Runs of a letter as the letter and how often it stands there.
local function short(text)
  return (text:gsub("([xyz])([xyz]+)", function(c, more) return c .. #more + 1 end))
end

describe("A foreign text #lua", function()
  before_each(notes.clear)

  it("is cut where it is longer than is shown", function()
    local BOUNDS = { clean = { 60 }, long = { 200 }, quoted = { 60 }, lines = { 5000 }, message = { 400 } }
    for _, name in ipairs { "clean", "long", "quoted", "lines", "message" } do
      for _, bound in ipairs(BOUNDS[name]) do
        for n = bound - 2, bound + 3 do
          for _, c in ipairs { "x", "\27", "\194\162", '"', "\255" } do
            local text = c:rep(math.ceil(n / #c)):sub(1, n)
            notes.note(name, n, plain(c), #foreign_text[name](text), plain(foreign_text[name](text):sub(-9)))
          end
        end
      end
    end
    for n = 3, 5 do
      for _, text in ipairs { "abcd", "ab\27c", "\226\130\172d", "abc\226\130\172", "" } do
        notes.note("clean to", n, plain(text), foreign_text.clean(text, n))
        notes.note("quoted to", n, plain(text), foreign_text.quoted(text, n))
        notes.note("lines of", n, plain(text), foreign_text.lines(text .. "\n" .. text .. "x\n", n))
      end
    end
    notes.check "lengths"
  end)

  it("of many lines is cut after so many lines or bytes, and keeps a tab that a line begins with", function()
    for _, n in ipairs { 1, 100, 101, 102, 200 } do
      local lines = {}
      for i = 1, n do lines[i] = "\tl\t" .. i end
      local text = foreign_text.message(table.concat(lines, "\n"), true)
      local _, breaks = text:gsub("\n", "")
      notes.note("lines", n, breaks + 1, plain(text:sub(-24)))
    end
    for n = 3998, 4003 do
      local text = ("x"):rep(300) .. "\n" .. ("y"):rep(n - 300 - 20) .. "\n" .. ("z"):rep(20)
      notes.note("bytes", n, short(foreign_text.message(text, true)))
    end
    for _, text in ipairs { "", "\n", "a\n", "\n\na", "\t\tx", " \tx", "a\r\nb" } do
      notes.note("as", plain(text), plain(foreign_text.message(text, true)),
        plain(foreign_text.message(text)), plain(foreign_text.lines(text)))
    end
    notes.check "lines"
  end)

  it("has no byte that a terminal obeys, and every character that it may show", function()
    local EDGES = { 0x00, 0x09, 0x0a, 0x0d, 0x1f, 0x20, 0x30, 0x39, 0x3a, 0x7f, 0x80, 0x81, 0x9f, 0xa0, 0xa6,
                    0xa8, 0xa9, 0xae, 0xaf, 0xbf, 0xc0, 0xff }
    -- Second and third bytes with one answer stand on one line.
    local function group(first, rest, show)
      local answers, order = {}, {}
      for _, bytes in ipairs(rest) do
        local is = show(bytes)
        if not answers[is] then answers[is], order[#order + 1] = {}, is end
        table.insert(answers[is], ("%02x"):format(bytes:byte(-1)))
      end
      for _, is in ipairs(order) do notes.note(first, table.concat(answers[is], " ") .. ":", is) end
    end
    local function kind(text)
      text = "a" .. text .. "b"
      local is = foreign_text.clean(text)
      return is == text and "as it is" or is:find "^[\\%d\32-\126]*$" and "escaped" or "in part"
    end
    for first = 0, 255 do
      local c, rest = string.char(first), {}
      notes.note("byte", first, plain(foreign_text.clean(c)), plain(foreign_text.clean(c .. "7")),
        plain(foreign_text.quoted(c)), plain(foreign_text.lines(c)))
      if first >= 0xc0 then
        for i, second in ipairs(EDGES) do rest[i] = string.char(second) end
        group(("%02x"):format(first), rest, function(bytes) return kind(c .. bytes) end)
        group(("%02x and two more"):format(first), rest, function(bytes)
          return kind(c .. bytes .. "\128\128")
        end)
      end
    end
    for _, two in ipairs { "\226\128", "\226\129", "\226\130", "\227\128", "\225\128", "\240\128" } do
      local rest = {}
      for i, third in ipairs(EDGES) do rest[i] = two:sub(2) .. string.char(third) end
      group(plain(two), rest, function(bytes) return kind(two:sub(1, 1) .. bytes) end)
    end
    notes.check "bytes"
  end)
end)
