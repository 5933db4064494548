-- The text of examples/nginx's answers, without nginx: UTF-8 in pieces, stop texts in pieces. Properties
-- hold for random bytes; the seed is in each message.
local stop = require "examples.nginx.stop"
local texts = require "examples.nginx.text"
local utf8 = require "examples.nginx.utf8"

local U = "\239\191\189"
local seed = tonumber(os.getenv "GDN_SEED") or os.time()

-- What a text is, fed in random pieces.
local function in_pieces(text, feed)
  local pieces, at = {}, 1
  while at <= #text do
    local n = math.random(0, 3)
    pieces[#pieces + 1] = feed(text:sub(at, at + n - 1), at + n > #text)
    at = at + n
  end
  return table.concat(pieces)
end

-- Bytes that often make characters, and often not quite.
local BYTES = { 0x00, 0x20, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xA9, 0xBF, 0xC0, 0xC2, 0xC3, 0xE0,
                0xE2, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF }
local function random_bytes(n)
  local bytes = {}
  for k = 1, n do bytes[k] = string.char(BYTES[math.random(#BYTES)]) end
  return table.concat(bytes)
end

describe("examples/nginx/utf8.lua", function()
  local CASES = {
    { "\195\169 ", "é " },
    { "\240\159\152\128", "😀" },
    { "\195", U }, { "\226\130", U }, { "\240\159\152", U },          -- ends within a character
    { "\226\130A", U .. "A" }, { "\240\159\152\195\169", U .. "é" }, -- another begins
    { "\128\191", U .. U }, { "\192\175", U .. U }, { "\255", U },
    { "\224\128\128", U .. U .. U }, { "\237\160\128", U .. U .. U }, -- overlong, a surrogate
    { "\244\144\128\128", U .. U .. U .. U },                         -- above U+10FFFF
    { "\239\191\189", U }, { "\0\127", "\0\127" },
  }

  it("decodes as others do, and holds a character until it is whole", function()
    for _, case in ipairs(CASES) do
      local shown = ("%q"):format(case[1])
      assert.are.equal(case[2], utf8.decoder():feed(case[1], true), shown)
      local decoder, pieces = utf8.decoder(), {}
      for n = 1, #case[1] do pieces[n] = decoder:feed(case[1]:sub(n, n), false) end
      pieces[#pieces + 1] = decoder:feed("", true)
      assert.are.equal(case[2], table.concat(pieces), shown)
    end
    local decoder = utf8.decoder()
    assert.are.same({ "a", "", "", "😀" }, { decoder:feed "a\240", decoder:feed "\159", decoder:feed "\152",
                                              decoder:feed "\128" })
  end)

  it("gives UTF-8 for any bytes in any pieces, the same as for the whole", function()
    math.randomseed(seed)
    for _ = 1, 3000 do
      local bytes, decoder = random_bytes(math.random(0, 12)), utf8.decoder()
      local whole = utf8.decoder():feed(bytes, true)
      local text = in_pieces(bytes, function(piece) return decoder:feed(piece) end) .. decoder:feed("", true)
      assert.are.equal(whole, text, ("%q, seed %d"):format(bytes, seed))
      assert.is_nil(utf8.wrong(whole), ("%q"):format(bytes))
      if not utf8.wrong(bytes) then assert.are.equal(bytes, whole) end
    end
  end)

  it("says where the first byte is that is no UTF-8", function()
    assert.is_nil(utf8.wrong "a é 😀 € \0")
    for _, case in ipairs { { "\255", 1 }, { "é\195", 3 }, { "a\237\160\128", 2 }, { "😀é\192\128", 7 } } do
      assert.are.equal(case[2], utf8.wrong(case[1]))
    end
  end)
end)

describe("examples/nginx/stop.lua", function()
  it("cuts before the stop text that is complete first", function()
    for _, case in ipairs {
      { "hello world", { "o w" }, "hell", true },
      { "abcabd", { "abd" }, "abc", true },
      { "aaab", { "aab" }, "a", true },
      { "xabcd", { "abcd", "bc" }, "xa", true },
      { "xabc", { "c", "abc" }, "x", true },
      { "abc", { "abcd" }, "abc", false },
      { "abc", {}, "abc", false },
      { "né!", { "é" }, "n", true },
    } do
      local bytes, cut = stop.cutter(case[2]):feed(case[1], true)
      assert.are.same({ case[3], case[4] }, { bytes, cut }, case[1])
    end
  end)

  it("cuts at the same place however the text is split, and holds back no more than it must", function()
    math.randomseed(seed)
    local function word(most)
      local letters = {}
      for n = 1, math.random(1, most) do letters[n] = ("ab"):sub(math.random(2)):sub(1, 1) end
      return table.concat(letters)
    end
    for _ = 1, 3000 do
      local text, stops = word(14), { word(4), word(3) }
      local whole = stop.cutter(stops):feed(text, true)
      local cutter, done, sent = stop.cutter(stops), false, ""
      in_pieces(text, function(piece)
        if done then return "" end
        local bytes
        bytes, done = cutter:feed(piece, false)
        sent = sent .. bytes
        assert.is_true(done or #cutter.held < math.max(#stops[1], #stops[2]))
        return bytes
      end)
      if not done then sent = sent .. cutter:feed("", true) end
      assert.are.equal(whole, sent, ("%s, stops %s %s, seed %d"):format(text, stops[1], stops[2], seed))
    end
  end)
end)

describe("examples/nginx/text.lua", function()
  it("cuts bytes first and reads characters after", function()
    local text = texts.new { "é" }
    assert.are.same({ "a", "", "" }, { text:feed("a\195", nil), text:feed("\169", "stop"), "" })
    text = texts.new { "\169x" } -- what is left of the character is none
    assert.are.equal("a" .. U, text:feed("a\195\169x", "stop"))
    text = texts.new {}
    assert.are.equal("a", text:feed("a\226\130", nil))
    assert.are.equal(U, text:feed("", "length"))
  end)
end)
