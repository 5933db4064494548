-- The simulator's own accounting, of books that are cooked: each wrong sum is named, and right ones are said.
local noted = require "spec.support.noted"
local token_accounting = require "gdnmeta.sim.token_accounting"

local notes = noted.new "sim-"

-- Two requests that finished and one that was turned away after a token.
local function books()
  return { { prompt = 10, output = 3 }, { prompt = 4, output = 1 }, { prompt = 7, output = 5 } },
    { done = { 1, 1, 0 }, got = { 3, 1, 1 }, rejected = 1, emitted = 5, finished = 2 },
    { scheduled = 12 + 4 + 8, discarded = 8, rejected_drafts = 0, wasted_tokens = 0, emitted = 5 }
end

describe("The accounting of a run #lua", function()
  before_each(notes.clear)

  local function try(title, change, cached)
    local requests, counters, stats = books()
    change(requests, counters, stats)
    local ok, sums = pcall(token_accounting.check, requests, counters, stats, cached)
    notes.note(title, sums)
    if ok then notes.note("  says", token_accounting.sentence { policy = "p", conservation = sums }) end
  end

  it("finds every sum that does not agree", function()
    try("right", function() end)
    try("with a cache", function(_, _, stats) stats.scheduled = stats.scheduled - 6 end, { 4, 2, 0 })
    try("with one token of a cache", function(_, _, stats) stats.scheduled = stats.scheduled - 1 end,
      { 0, 1, 9 })
    local told = { scheduled = 5, once = 5, again = 0, drafts = 1, wasted = 0, outputs = 2 }
    for _, name in ipairs { "none", "cached", "unfinished", "again", "wasted" } do
      for n = 0, 1 do -- as a file has it, perhaps without some
        local sums = {}
        for field, value in pairs(told) do sums[field] = value end
        if name ~= "none" then sums[name] = n end
        notes.note(name, n, token_accounting.sentence { policy = "p", conservation = sums })
      end
    end
    try("cached, but not said", function() end, { 4, 2, 0 })
    for _, name in ipairs { "scheduled", "discarded", "rejected_drafts", "wasted_tokens" } do
      for _, by in ipairs { -1, 1 } do
        try(name .. by, function(_, _, stats) stats[name] = stats[name] + by end)
      end
      try(name .. " agrees", function(_, _, stats)
        stats[name] = stats[name] + 5
        if name ~= "scheduled" then stats.scheduled = stats.scheduled + 5 end
      end)
    end
    for _, name in ipairs { "rejected", "emitted" } do
      for _, by in ipairs { -1, 1 } do
        try(name .. by, function(_, counters) counters[name] = counters[name] + by end)
      end
    end
    for _, by in ipairs { -1, 1 } do
      try("the engine's " .. by, function(_, _, stats) stats.emitted = stats.emitted + by end)
    end
    for i = 1, 3 do
      for _, by in ipairs { -1, 1, 4 } do
        try(("request %d given %+d"):format(i, by), function(_, counters)
          counters.got[i] = counters.got[i] + by
        end)
      end
      try(("request %d is not done"):format(i), function(_, counters) counters.done[i] = 0 end)
      try(("request %d is done"):format(i), function(_, counters) counters.done[i] = 1 end)
    end
    notes.check "accounting"
  end)
end)
