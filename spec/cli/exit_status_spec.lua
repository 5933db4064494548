-- When a command that tried policies fails, and what it says then, for every run that there may be: against
-- spec/goldens/texts.
local exit_status = require "gdnmeta.cli.exit_status"
local noted = require "spec.support.noted"

local notes = noted.new "cli-"

describe("The status of a command #lua", function()
  local stderr, written = io.stderr, nil
  before_each(function()
    notes.clear()
    rawset(io, "stderr", { write = function(_, ...) written[#written + 1] = table.concat { ... } end })
  end)
  after_each(function() rawset(io, "stderr", stderr) end)

  local function note(title, runs)
    written = {}
    local status = exit_status.status(runs)
    notes.note(title, status, (table.concat(written):gsub("\n", "|")))
  end

  it("is 1 where a policy or a cache did not do its own work", function()
    local failures = { false, { step = 3, hook = "chunk", message = "nan\nor so" },
                       { step = 3, hook = "key", message = "x", never = "key, chunk" } }
    local caches = { false, {}, { switched_off = true }, { never = "worth" },
                     { switched_off = true, never = "worth" } }
    for k, failure in ipairs(failures) do
      for _, off in ipairs { false, true } do
        for _, fallbacks in ipairs { 0, 1, 1999, 2000, 2001 } do
          note(("failure %d, off %s, %d steps"):format(k, tostring(off), fallbacks), { { policy = "p",
            failure = failure or nil, switched_off = off or nil, fallbacks = fallbacks, steps = 2000 } })
        end
      end
      for i, of_cache in ipairs(caches) do
        local cache = { failure = of_cache and { step = 4, hook = "worth", message = "why",
          switched_off = of_cache.switched_off, never = of_cache.never } or nil }
        note(("failure %d, cache %d"):format(k, i), { { policy = "q", failure = failure or nil, fallbacks = 0,
          steps = 5, cache = cache }, { policy = "r", fallbacks = 5, steps = 5 } })
      end
    end
    note("none", {})
    notes.check "exit-status"
  end)
end)
