-- The index of a prefix cache against spec/support/prefix_model.lua: random sequences of every call, all
-- answers compared, and the whole content again and again.
local moves = require "spec.support.index_moves"
local runs = require "spec.support.index_run"
local until_met = require "spec.support.until_met"

local CASES, MOVES = tonumber(os.getenv "GDN_CASES") or 120, 120

local NAMES = { "publish", "publish", "publish", "match", "lock", "lock", "unlock", "unlock_state", "advance",
                "advance", "evict", "evict", "drop_state", "move_state", "pin", "unpin", "watch", "watch",
                "look" }

local function play(seed, options)
  local run = runs.start(seed, options)
  for move = 1, MOVES do
    run.move = move
    local name = NAMES[math.random(#NAMES)]
    local done, why = pcall(moves[name], run)
    if not done then error(run:where(name .. ": " .. tostring(why)), 0) end
    run:compare_counts()
    if move % 10 == 0 then run:compare_all() end
  end
  run.index:close()
  return run.changed, run.unchanged
end

describe("An index of random use", function()
  local seed = tonumber(os.getenv "GDN_SEED") or os.time()
  it("answers as lists do", function()
    local wanted = { changed = 1, unchanged = 1 } -- of the prompts that wait
    until_met(seed + 1, CASES, wanted, function(case, met)
      local more, less = play(case, { nodes = 4000, blocks = 100000 })
      met.changed, met.unchanged = met.changed + more, met.unchanged + less
    end)
  end)

  it("refuses what has no room, and is as it was", function()
    for case = 1, CASES do play(seed + case, { nodes = 24, blocks = 260, tight = true }) end
  end)
end)
