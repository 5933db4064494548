-- Positions that a cache's hooks name and are helped with: which of them states can lie at, whatever they are
-- and however they are ordered, those of ctx.every, what tokens cost, and what is no list of them.
local positions = require "gdnmeta.engine.prefix.positions"

local function words(list) return table.concat(list, " ") end

describe("Positions #lua", function()
  -- Sorted where they do not ascend: LuaJIT compiles no sort.
  it("that a hook names are kept where a block ends there, ascending", function()
    local fit, sort, sorted = { 99, "left of a call before" }, table.sort
    finally(function() rawset(table, "sort", sort) end)
    rawset(table, "sort", function(...)
      sorted = true
      return sort(...)
    end)
    for case = 1, 400 do
      local size, from, blocks = case % 4 + 1, case * 7 % 13, case % 9
      local list, at_ends = {}, {}
      for n = 1, case % 12 do
        list[n] = (case * 31 + n * n * 17) % 45 - 3 + (n % 5 == 0 and 0.5 or 0)
        if case % 3 == 0 then list[n] = list[n - n % 2] or list[n] end -- some twice
        if list[n] > from and list[n] <= blocks * size and list[n] % size == 0 then
          at_ends[#at_ends + 1] = list[n]
        end
      end
      local given, descends = words(list), false
      for n = 2, #at_ends do descends = descends or at_ends[n] < at_ends[n - 1] end
      sort(at_ends)
      sorted = false
      assert.are.equal(fit, positions.fit(list, from, blocks * size, size, fit))
      assert.are.equal(descends, sorted, "case " .. case)
      assert.are.equal(words(at_ends), words(fit), "case " .. case)
      assert.are.equal(given, words(list)) -- which is the hook's
    end
  end)

  it("of ctx.every are whole blocks, so far apart, and no more than so many", function()
    local into = { 5, 6, 7 }
    for case = 1, 400 do
      local size, n, from, to, most = case % 4 + 1, case % 11 - 1.5, case * 5 % 19, case % 43, case % 7 + 1
      local step, want = math.max(size, math.floor(n / size) * size), {}
      for at = 1, to do
        if at > from and at % step == 0 and #want < most then want[#want + 1] = at end
      end
      assert.are.equal(into, positions.every(n, from, to, size, most, into))
      assert.are.equal(words(want), words(into), "case " .. case)
      assert.are.equal(words(want), words(positions.every(n, from, to, size, most)))
    end
  end)

  it("are no map, which is looked for in the first 8 empty lists of a cache", function()
    local want, looks = " returned a table without [1], want a list", positions.looks()
    assert.is_nil((positions.problem({ 4, a = 8 }, looks)))
    for n = 1, 10 do
      assert.are.equal(n <= 8 and want or nil, (positions.problem({ a = 512 }, looks)))
    end
    looks = positions.looks()
    for _ = 1, 10 do assert.is_nil((positions.problem({}, looks))) end
  end)

  it("are read without a list's metamethods, which might say something else the next time", function()
    local reads, last = 0, 12
    local list = setmetatable({ 4, nil, last }, { __index = function()
      reads = reads + 1
      return 8
    end })
    assert.are.equal(3, #list)
    assert.are.equal("[2] is nil, want a number of tokens", positions.problem(list, positions.looks()))
    assert.is_false((pcall(positions.fit, list, 0, 16, 4, {})))
    assert.are.equal(0, reads)
  end)

  it("cost more the later they are", function()
    assert.are.equal(0, positions.flops(7, 7))
    assert.are.equal(2 ^ 17 * 2, positions.flops(0, 2 ^ 17))
    assert.are.equal(2 ^ 16 * 2.5, positions.flops(2 ^ 16, 2 ^ 17))
    assert.are.equal(-2 ^ 16 * 1.5, positions.flops(2 ^ 16, 0))
  end)

  it("are refused where they are none", function()
    local most = {}
    for n = 1, positions.MOST do most[n] = n end
    assert.is_nil(positions.problem(most))
    most[#most + 1] = 1
    for message, list in pairs {
      [" returned 65537 positions, want at most 65536"] = most,
      [" returned 7, want a list"] = 7,
      ["[1] is false, want a number of tokens"] = { false, 1 },
      ["[2] is nan, want a number of tokens"] = { 4, 0 / 0 },
      ["[3] is a table, want a number of tokens"] = { 1, 2, {} },
    } do
      assert.are.equal(message, positions.problem(list, positions.looks()))
    end
    for message, call in pairs {
      ["ctx.every(nan): want a number of tokens, called with a dot"] = function() positions.every(0 / 0) end,
      ["ctx.every(nil): want a number of tokens, called with a dot"] = function() positions.every() end,
      ["ctx.flops(nil, 2): want two numbers, called with a dot"] = function() positions.flops(nil, 2) end,
      ["ctx.flops(1, nil): want two numbers, called with a dot"] = function() positions.flops(1) end,
    } do
      local ok, problem = pcall(call)
      assert.are.same({ false, message }, { ok, (problem:gsub("^[^:]*:%d+: ", "")) })
    end
  end)
end)
