-- Random steps whose states and windows are brought on a CUDA device, from the command line: every byte of
-- every pool is what the header says. For sanitizers.
--   luajit spec/bring.lua [--device fake|cuda] [--cases N] [--seed N]
local root = arg[0]:match "^(.-)[^/]*$" .. "../"
package.path = root .. "?.lua;" .. package.path

local options = require "spec.support.options".read("spec/bring.lua",
  "[--device fake|cuda] [--cases N] [--seed N]", { device = "fake", cases = 2000, seed = os.time() })

local memory = require "spec.support.bring_memory"
local steps = require "spec.support.bring_steps"
local driver = require "spec.support.driver".open(options.device)
local stream, sums = driver:stream(), { moves = 0, within = 0, pools = 0 }

for case = options.seed, options.seed + options.cases - 1 do
  math.randomseed(case)
  local c = steps.builder("cuda", case % 50 == 0 and 1500 or nil)
  for _, make in ipairs { steps.states, steps.windows } do
    local p = make(c)
    local where = ("--cases 1 --seed %d"):format(case)
    local moves, within = steps.check(c, p, where, memory(driver, stream, p.size), stream)
    sums.moves, sums.within, sums.pools = sums.moves + moves, sums.within + within, sums.pools + 1
  end
  driver:free_all()
  c.batch:close()
  c.builder:close()
end
driver:close()
print(("bring: seed %d, %d cases: %d pools, %d states and windows moved, %d within their slots"):format(
  options.seed, options.cases, sums.pools, sums.moves, sums.within))
