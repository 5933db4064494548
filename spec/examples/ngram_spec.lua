-- Drafts by looking up: what a drafter says is what followed the same tokens the last time.
local ngram = require "examples.ngram"
local serving = require "examples.serving"

-- By looking through the whole text: the latest place before the end whose last n tokens are the text's.
local function slow(tokens, longest, shortest, most)
  for n = math.min(longest, #tokens - 1), shortest, -1 do
    for at = #tokens - 1, n, -1 do
      local equal = true
      for k = 0, n - 1 do equal = equal and tokens[at - k] == tokens[#tokens - k] end
      if equal then
        local drafts = {}
        for k = 1, math.min(most, #tokens - at) do drafts[k] = tokens[at + k] end
        return drafts
      end
    end
  end
  return {}
end

local function told(tokens, longest, shortest)
  local drafter = ngram.new(longest, shortest)
  for _, token in ipairs(tokens) do drafter:push(token) end
  return drafter
end

describe("ngram", function()
  it("says what followed the longest text that is alike", function()
    assert.are.same({ 4, 5 }, told({ 1, 2, 3, 4, 5, 9, 2, 7, 1, 2, 3 }):drafts(2))
    assert.are.same({ 9, 2, 7 }, told({ 5, 9, 2, 7, 5 }):drafts(3))
    assert.are.same({}, told({ 1, 2, 3 }):drafts(3))
    assert.are.same({}, told({}):drafts(3))
    assert.are.same({}, told({ 1, 2, 1 }):drafts(0))
    assert.are.same({}, told({ 1, 2, 9, 2 }, 3, 2):drafts(3))
  end)

  it("says at each token what a search through the text finds", function()
    for _, case in ipairs { { 3, 1, 4 }, { 2, 2, 3 }, { 5, 1, 2 }, { 1, 1, 50 } } do
      local longest, shortest, alphabet = unpack(case)
      local drafter, tokens = ngram.new(longest, shortest), {}
      for n = 1, 300 do
        tokens[n] = math.random(alphabet) * 50000
        drafter:push(tokens[n])
        assert.are.same(slow(tokens, longest, shortest, 4), drafter:drafts(4))
      end
    end
  end)

  it("refuses lengths that it cannot look for", function()
    assert.has_error(function() ngram.new(0) end, "ngram: longest = 0, want an integer in 1 .. 8")
    assert.has_error(function() ngram.new(2, 3) end, "ngram: shortest = 3, want an integer in 1 .. 2")
  end)

  it("agrees with the server example where both look for two tokens, then one", function()
    local tokens = { 7, 8, 9, 1, 8, 9 }
    assert.are.same(serving.look_up(tokens, 3), told(tokens, 2):drafts(3))
  end)
end)
