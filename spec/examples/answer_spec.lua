-- examples/answer.lua: bytes of tokens of any vocabulary, and where an answer ends.
local new_answer = require("examples.answer").new

local random = math.random

-- Tokens of random pieces of a small alphabet, so that stop texts come up, some of them empty.
local function vocabulary()
  local bytes, ends = {}, {}
  for token = 0, 19 do
    local piece = {}
    for k = 1, random(0, 3) do piece[k] = ("abc"):sub(random(3)):sub(1, 1) end
    bytes[token] = table.concat(piece)
  end
  ends[19] = random(2) == 1 or nil
  return { bytes = bytes, ends = ends }
end

-- After how many tokens the answer ends: those up to it, at once.
local function length_of(words, tokens, stops)
  local text = ""
  for n, token in ipairs(tokens) do
    if words.ends[token] then return n, text end
    text = text .. words.bytes[token]
    for _, stop in ipairs(stops) do
      if text:find(stop, 1, true) then return n, text end
    end
  end
  return nil, text
end

describe("examples/answer.lua #lua", function()
  it("ends after the token that completes a stop text, wherever tokens are cut, or that is an end", function()
    local seed = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24
    math.randomseed(seed)
    local ended = 0
    for case = 1, 400 do
      local words, tokens, stops, where = vocabulary(), {}, {}, ("GDN_SEED=%d case %d"):format(seed, case)
      for k = 1, random(40) do tokens[k] = random(0, 19) end
      for k = 1, random(0, 3) do
        local stop = {}
        for n = 1, random(1, 6) do stop[n] = ("abc"):sub(random(3)):sub(1, 1) end
        stops[k] = table.concat(stop)
      end
      local want, text = length_of(words, tokens, stops)
      local answer, got, said, waiting = new_answer(stops, words), nil, "", 0
      for n, token in ipairs(tokens) do
        waiting = waiting + 1
        if answer:add(token) then
          got = n
          break
        end
        if random(2) == 1 then said, waiting = said .. answer:take(waiting), 0 end
      end
      assert.are.equal(want, got, where)
      assert.are.equal(text, said .. answer:take(waiting), where)
      ended = ended + (want and 1 or 0)
    end
    assert.is_true(ended > 100 and ended < 400)
  end)

  it("forgets tokens that do not count, and takes bytes for tokens without a vocabulary", function()
    local answer = new_answer { "\n\n" }
    assert.are.same({ false, false, false }, { answer:add(97), answer:add(10), answer:add(0) })
    assert.are.equal("a\n", answer:take(2))
    assert.are.same({ false, true }, { answer:add(10), answer:add(10) })
    assert.are.equal("\n\n", answer:take(2))
    answer = new_answer({}, { bytes = { [0] = "x" }, ends = { [7] = true } })
    assert.are.same({ false, false, true }, { answer:add(0), answer:add(5), answer:add(7) })
    assert.are.equal("x", answer:take(3)) -- no bytes are known of 5, and none belong to 7
  end)
end)
