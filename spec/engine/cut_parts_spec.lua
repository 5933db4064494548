-- Where a prompt's chunks end for the states that it is to leave, by prefix/cuts.lua, against the same said
-- by lists, of drawn requests and answers of a cache's hook; and what numbers given by keep() are worth.
local cuts = require "gdnmeta.engine.prefix.cuts"
local drawer = require "spec.support.drawer"
local priorities = require "gdnmeta.engine.prefix.priorities"

local I = 3

local function world(case)
  local draw = drawer(16807 * case + 41)
  local prompt = draw(20)
  local r = { computed = { [I] = draw(prompt + 2) - 1 }, prompt = { [I] = prompt },
              ids = { [I] = draw(4) > 1 },
              asked_to = { [I] = -1 }, asked_from = { [I] = 0 }, cuts = { [I] = false },
              junction = { [I] = draw(prompt + 1) - 1 }, last_block = { [I] = draw(prompt + 1) - 1 } }
  local self = { engine = { requests = r }, cut_lists = {}, asked = {}, hooks = false }
  if draw(4) > 1 then
    self.hooks = { checkpoints = function(_, i, from, to, list)
      assert(i == I and list == self.cut_lists[I])
      self.asked[#self.asked + 1] = from .. " " .. to
      for n = #list, 1, -1 do list[n] = nil end
      if draw(6) == 1 then return nil end
      for at = from + 1, to do
        if draw(4) == 1 then list[#list + 1] = at end
      end
      return list
    end }
  end
  return setmetatable(self, { __index = cuts }), r, draw
end

-- Tokens to the first of some places that lies ahead.
local function first_of(places, computed, most)
  for _, at in ipairs(places) do
    if at > computed then most = math.min(most, at - computed) end
  end
  return most
end

describe("Chunks of a prompt end", function()
  it("where a state is to lie, and the hook is asked once a chunk, of no tokens never", function()
    for case = 1, 1500 do
      local self, r, draw = world(case)
      for turn = 1, 6 do
        local most, where = draw(12) - 1, ("case %d, turn %d"):format(case, turn)
        local computed, prompt = r.computed[I], r.prompt[I]
        local to, asked = math.min(computed + most, prompt), #self.asked
        local is_asked = self.hooks and most > 0 and r.ids[I] and computed < prompt
        local is_new = is_asked and (r.asked_to[I] < to or r.asked_from[I] > computed)
        local n = self:cut_chunk(I, most)
        assert.are.equal(asked + (is_new and 1 or 0), #self.asked, where)
        if is_new then
          assert.are.equal(computed .. " " .. to, self.asked[#self.asked], where)
          assert.are.same({ computed, to }, { r.asked_from[I], r.asked_to[I] }, where)
        end
        local list = is_asked and r.cuts[I] or { r.junction[I], r.last_block[I] }
        assert.are.equal(first_of(list, computed, most), n, where)
        for ends = 0, prompt do
          local is_place, by = false, self.hooks and r.cuts[I] or { r.junction[I], r.last_block[I] }
          for _, at in ipairs(by) do is_place = is_place or at == ends end
          assert.are.equal(is_place, self:leaves_state(I, ends), where)
        end
        local move = draw(4)
        if move == 1 then r.computed[I] = math.max(computed - draw(4), 0) end
        if move == 2 then r.computed[I] = math.min(computed + n, prompt) end
      end
    end
  end)
end)

describe("Numbers of keep()", function()
  it("are what states are worth, 0 where there is none, and nothing is rated before the first", function()
    local of, log = priorities.new(), {}
    local nodes = { { id = 1, state_bytes = 1 }, { id = 2, state_bytes = 1 }, { id = 3, state_bytes = 0 },
                    { id = 4, state_bytes = 1 } }
    local values, n = { 9, 9, 9, 9 }, 4
    local index = { candidates = function(_, kind, most)
      log[#log + 1] = ("candidates %s %s"):format(kind, tostring(most))
      return nodes, n, values
    end, rate = function(_, kind, count, given)
      assert(given == values)
      log[#log + 1] = ("rate %s %d: %s"):format(kind, count, table.concat(values, " ", 1, count))
    end }
    of:set(1, true)
    of:rate(index, "leaves", 8)
    assert.are.same({}, log)
    of:set(2, -0.5)
    of:set(3, 7)
    of:set(4, true)
    of:rate(index, "leaves", 8)
    n = 0
    of:rate(index, "states")
    n = 1
    of:set(1, 2)
    of:rate(index, "states")
    assert.are.same({ "candidates leaves 8", "rate leaves 4: 0 -0.5 0 0", "candidates states nil",
                      "candidates states nil", "rate states 1: 2" }, log)
    for k, want in ipairs { 2, -0.5, 0, 0 } do
      of:show(nodes[k])
      assert.are.equal(want, nodes[k].priority)
    end
    of:set(2, true)
    of:show(nodes[2])
    assert.are.equal(0, nodes[2].priority)
  end)
end)
