-- Which runs the options of caches ask for, how each is asked for again, and what is refused, against
-- spec/goldens/texts.
local caches = require "gdnmeta.cli.caches"
local noted = require "spec.support.noted"

local notes = noted.new "cli-"
local note = notes.note

local function answer(call)
  local ok, result = pcall(call)
  return ok, ok and result or type(result) == "table" and result.message or result
end

describe("The caches of a command #lua", function()
  before_each(notes.clear)

  it("are these runs, in this order", function()
    for _, names in ipairs { { "gdsf" }, { "none" }, { "gdsf", "none", "fifo" }, { "lru" },
                             { "gdsf", "gdsf" }, { "" } } do
      for _, o in ipairs { {}, { cache_slots = "16" }, { cache_slots = "16,64" }, { slots_only = true },
                           { slots = "9" }, { slots = "9", cache_slots = "1" }, { label = "x" },
                           { host_slots = "4", host_link = "50", cache_replies = true }, { host_link = "5" },
                           { cache_slots = "0" }, { cache_slots = "0", slots_only = true },
                           { cache_slots = "4194304" }, { cache_slots = "4194305" }, { cache_slots = "1,1" },
                           { host_slots = "4194305" }, { host_slots = "1", host_link = "0" } } do
        local args, base = { cache = names, sources = {} }, {}
        for name, value in pairs(o) do args[name] = value end
        local ok, cells = answer(function() return caches.cells(args, base) end)
        note(table.concat(names, " "), o, ok and #cells or cells, base)
        for _, cell in ipairs(ok and cells or {}) do
          note("  ", cell.label, cell.name, caches.options(args, cell),
            table.concat(caches.argv(args, cell), " "))
        end
      end
    end
    notes.check "cache-cells"
  end)

  it("are wanted by their options, and want prompts with identity", function()
    for _, name in ipairs { "cache_slots", "host_slots", "host_link", "cache_replies", "slots_only",
                            "seed" } do
      for _, names in ipairs { {}, { "gdsf" } } do
        note("check", name, #names, answer(function() caches.check { cache = names, [name] = "1" } end))
      end
    end
    note("check", answer(function() caches.check { cache = {} } end))
    local plain, known = { arrival = 0, prompt = 40, output = 2 }, { block_size = 16 }
    known[1] = { arrival = 0, prompt = 40, output = 2, blocks = { 1, 2 } }
    for k, base in ipairs { { requests = { plain } }, { requests = known }, { requests = { 5 } },
                            { workload = { requests = 3 } }, { workload = { kind = "agents", sessions = 1 } },
                            { trace = "nowhere.csv" } } do
      for _, cells in ipairs { {}, { {} }, { {}, { cache = "gdsf" } } } do
        note("identity", k, #cells, answer(function() caches.check_identity(base, cells) end))
      end
    end
    notes.check "cache-checks"
  end)

  it("leave a workload as it is", function()
    for _, base in ipairs { { trace = "t" }, { requests = {} }, { workload = { kind = "agents" } },
                            { rate = 3 } } do
      for _, alone in ipairs { false, true } do
        local given = {}
        for name, value in pairs(base) do given[name] = value end
        caches.cells({ cache = { "gdsf" }, slots_only = alone or nil, sources = {} }, given)
        note("workload", base, alone, given)
      end
    end
    notes.check "cache-workloads"
  end)
end)
