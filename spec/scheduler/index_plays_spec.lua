-- Plays of an index for which everything is scarce, by every call with arguments that are right or just
-- wrong: how often each status was returned, and sums of all that could be seen after each call, against
-- spec/goldens/texts. What a call says and leaves behind is worked out by hand in the specs beside this one.
local golden = require "spec.support.golden"
local random = require "spec.support.random_config"
local sum_of = require "spec.support.sum_of"
local worlds = require "spec.support.index_world"

local PLAYS, CALLS = 250, 120

-- The likelier ones more than once.
local NAMES = { "advance", "advance", "advance", "match", "watch", "look", "look", "lock", "lock", "lock",
  "unlock", "unlock", "unlock", "unlock", "unlock_state", "unlock_state", "publish", "publish",
  "pin", "unpin",
  "candidates", "rate", "rate", "first", "drop_state", "move_state", "move_state", "evict", "evict", "join",
  "join", "join", "leave", "leave", "free_up", "free_up", "keep", "keep", "keep", "read", "extend", "extend",
  "extend", "clear", "take", "take", "take", "let_go" }

describe("Plays of an index", function()
  it("go as they went", function()
    local counts, lines = {}, {}
    for play = 1, PLAYS do
      local rand, sum, parts = random.rng(play * 7919), sum_of.new(), {}
      local world = worlds.new(rand)
      for n = 1, CALLS do
        local name = NAMES[rand(1, #NAMES)]
        local status = tonumber(world.calls[name](world))
        local key = ("%s %d"):format(name, status)
        counts[key] = (counts[key] or 0) + 1
        sum:text(name)
        sum:number(status)
        if name == "candidates" and status > 0 then
          sum:array(world.nodes, status)
          sum:array(world.values, status)
        end
        world:see(sum)
        if n % 30 == 0 then parts[#parts + 1] = ("%d"):format(sum.value) end
      end
      world:close()
      lines[play] = ("play %d: %s"):format(play, table.concat(parts, " "))
    end
    local order = {}
    for key, count in pairs(counts) do order[#order + 1] = ("%s: %d"):format(key, count) end
    table.sort(order)
    golden("index-plays", table.concat(order, "\n") .. "\n" .. table.concat(lines, "\n") .. "\n")
  end)
end)
