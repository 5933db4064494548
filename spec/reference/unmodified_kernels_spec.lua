-- Kernels that read where they write, after bring_states and bring_windows: every request gets what it gets
-- alone, bit for bit, as from kernels with read indices. Without either, not.   GDN_SEED=N replays a run
local layer_play = require "spec.support.layer_play"
local unmodified = require "spec.support.unmodified_kernels"

setup(layer_play.more_traces)
teardown(layer_play.usual_traces)

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 40)

-- What kernels there are: { name, in mode align too?, options }. In align a window may move away from the
-- column that kernels with accepted counts start from, and from where the last step left it.
local KERNELS = {
  { "with accepted counts", false, { spec_rows = "accepted" } },
  { "with accepted counts and one window a row", false, { spec_rows = "accepted", only_first = true } },
  { "without accepted counts", true, { spec_rows = "first" } },
  { "without accepted counts, one window a row", false, { spec_rows = "first", only_first = true } },
  { "without accepted counts, windows in every slot", true, { spec_rows = "first", windows_in = "every" } },
}

local function play(kernels, c, where, states, windows)
  local o = { states = states, windows = windows }
  for name, value in pairs(kernels[3]) do o[name] = value end
  if c.align and c.num_spec > 0 and not kernels[2] then c.align, c.block = false, 16 end
  return layer_play.run(c, where, layer_play.any_policy(), unmodified.options(o))
end

for _, kernels in ipairs(KERNELS) do
  describe("Kernels that read where they write, " .. kernels[1] .. ", #lua", function()
    it("are right once states and windows are brought to them", function()
      -- Checkpoints are of mode align, which few of the other kernels' cases are in.
      local happens = { "preemptions", "rejected_drafts", kernels[2] and "cached" or nil }
      layer_play.all_right(CASES, happens, function(c, where)
        c.async = math.random(4) == 1
        return play(kernels, c, where, true, true)
      end)
    end)

    it("are wrong without, and with one of the two", function()
      for _, brought in ipairs { { false, false }, { true, false }, { false, true } } do
        layer_play.until_met(math.ceil(CASES / 2), { wrong = 1 }, function(c, where, met)
          local ok, message = play(kernels, c, where, unpack(brought))
          if not ok then assert.matches("alone", message, 1, true) end
          met.wrong = met.wrong + (ok and 0 or 1)
        end)
      end
    end)
  end)
end
