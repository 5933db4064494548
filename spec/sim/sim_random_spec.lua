-- What the simulator draws at random, against spec/goldens/texts.
local acceptance = require "gdnmeta.sim.acceptance"
local classes = require "gdnmeta.sim.classes"
local load = require "gdnmeta.sim.requests"
local noted = require "spec.support.noted"
local workload = require "gdnmeta.sim.workload"

local notes = noted.new "sim-"
local note, check = notes.note, notes.check

describe("Of the simulator #lua", function()
  before_each(notes.clear)

  it("what requests of a host may be", function()
    for _, name in ipairs { "arrival", "prompt", "output", "priority", "weight", "ttft", "tpot", "deadline",
                            "think", "user" } do
      for _, value in ipairs { -1, 0, 1, 0.5, 2 ^ 31 - 1, 2 ^ 31, 1 / 0, 0 / 0, "7", {}, false } do
        local r = { arrival = 2, prompt = 9, output = 3 }
        r[name] = value
        local first = { arrival = 0, prompt = 1, output = 1 }
        local requests, message = load.requests { seed = 1, requests = { first, r } }
        if not requests then note("host", name, value, message) end
      end
    end
    for _, r in ipairs { 5, "x", {} } do
      note("host", select(2, load.requests { seed = 1, requests = { r } }))
    end
    check "hosts"
  end)

  it("what seeds draw, up to the largest", function()
    for _, seed in ipairs { 0, 1, 2 ^ 30 - 1, 2 ^ 30, 2 ^ 31 - 1, 2 ^ 31, 3 * 2 ^ 30 - 1, 3 * 2 ^ 30,
                            2 ^ 32 - 1 } do
      local requests = assert(load.requests { seed = seed, users = 9, sessions = 2, think = 2,
        workload = { requests = 6, rate = 2, seed = seed },
        classes = { { name = "a", share = 1 }, { name = "b", share = 2 } } })
      for k, r in ipairs(requests) do
        note(seed, k, ("%.6f"):format(r.arrival), r.prompt, r.output, r.user, r.class,
          r.think and ("%.6f"):format(r.think))
      end
      local model = acceptance.new { drafts = 4, mean = 3, spread = 0.8, seed = seed }
      local list = {}
      for ordinal = 1, 9 do list[ordinal] = model(ordinal)(4, 100) end
      note(seed, "accepted", table.concat(list, " "))
      list = {}
      for k = 0, 6 do list[k + 1] = model(2 ^ 31 - 1 - k)(4, 100) end
      note(seed, "accepted of the last", table.concat(list, " "))
    end
    check "seeds"
  end)

  it("what is drawn at random", function()
    local model = acceptance.new { drafts = 4, mean = 3, spread = 0.8, seed = 5, half_context = 1000 }
    local shares = acceptance.new { drafts = 3, rates = { 0.9, 0.6, 0 }, seed = 2 ^ 32 - 1 }
    local recorded = acceptance.new { recorded = { { 1, 3, 9 }, { 2 } } }
    for ordinal = 1, 5 do
      local draws, list = { model(ordinal), shares(ordinal), recorded(ordinal) }, {}
      for i = 1, 12 do
        list[#list + 1] = ("%d%d%d"):format(draws[1](4, 100 * i), draws[2](i % 4, 0), draws[3](4))
      end
      note("accepted " .. ordinal, table.concat(list, " "))
    end
    for _, mean in ipairs { 1, 1.5, 3, 4.9, 5 } do
      local rates = acceptance.rates_of_mean(mean, 4)
      for i = 1, 4 do rates[i] = tonumber(("%.6f"):format(rates[i])) end
      note("rates of " .. mean, rates)
    end
    for _, o in ipairs { { drafts = 2, rates = { 1, 0 } }, { drafts = 2, rates = { 0.5, 0.6 } },
                         { drafts = 2, rates = { 1.1, 0 } }, { drafts = 2, rates = { 1, -0.1 } },
                           { mean = 2 },
                         { drafts = 2, rates = { 1 } }, { drafts = 2, rates = { 1, "x" } }, { drafts = 1,
                           mean = 2 },
                         { drafts = 1, mean = 2.01 }, {}, { mean = 1, rates = {}, drafts = 1 },
                           { recorded = {} },
                         { recorded = { {} } }, { recorded = { { 1 }, 3 } }, { recorded = { { 1, 0 } } },
                         { recorded = { { 1.5 } } }, { recorded = { { "1" } } }, { drafts = 0,
                           rates = {} } } do
      local ok, message = pcall(function() acceptance.new(o) end)
      note("acceptance", o, ok or message:gsub("^[^:]*:%d+: ", ""))
    end
    local random = workload.random(9)
    for _ = 1, 5 do note("random", ("%.10f"):format(random())) end
    for i, o in ipairs { { users = 3 }, { sessions = 2 }, { sessions = 3, think = 2, users = 2 },
      { rate = 9 },
                         { classes = { { name = "a", share = 1, ttft = 1 }, { name = "b", share = 2,
                           deadline = 3 } } },
                         { skip = 2, limit = 3 }, { skip = 7 }, { skip = 8 }, { limit = 1 } } do
      o.seed, o.workload = i, { requests = 8, rate = 2 }
      local requests, message = load.requests(o)
      note("load " .. i, message or requests.name, requests and requests.rate,
        requests and requests.rate_unit,
        requests and table.concat(requests.notices, "; "))
      for k, r in ipairs(requests or {}) do
        local after = r.after
        r.after = nil
        for j, other in ipairs(requests) do r.after = other == after and j or r.after end
        note("  " .. k, r)
        r.after = after
      end
    end
    for _, list in ipairs { { { name = "a" } }, { { name = "a", share = 0 } }, { { name = "" } }, { 5 },
                            { { name = "a", share = -1 } }, { { name = "a", share = 1, ttft = 0 / 0 } },
                            { { name = "a", x = 1 } }, { { name = "a", share = 1 }, { name = "b",
                              priority = "x" } },
                            { { name = 5 } }, {}, { { name = "a", share = 0 }, { name = "b" } } } do
      local ok, message = pcall(classes.assign, workload.generate { requests = 3 }, list, 1)
      note("classes", list, ok, message)
    end
    check "random"
  end)
end)
