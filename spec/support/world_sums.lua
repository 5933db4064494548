-- Plays of many small worlds, and sums of what is seen in them, a line for 40: spec/goldens/texts.
local golden = require "spec.support.golden"
local texts = require "spec.support.step_texts"

local PER_LINE = 40

---@param name string of the golden
---@param worlds integer
---@param play fun(case: integer, note: function): table plays one, notes values, returns its engine's stats
---@param words fun(total: table): string what a line says of the sums of these stats
return function(name, worlds, play, words)
  local lines, sum, total = {}, 7, {}
  local function note(value) sum = texts.sum(sum, value) end
  for case = 1, worlds do
    local ok, s = xpcall(play, debug.traceback, case, note)
    assert(ok, "world " .. case .. ": " .. tostring(s))
    for field, n in pairs(s) do total[field] = (total[field] or 0) + n end
    if case % PER_LINE == 0 then
      lines[#lines + 1] = ("%d: %s: %.0f"):format(case, words(total), sum)
      sum, total = 7, {}
    end
  end
  golden(name, table.concat(lines, "\n") .. "\n")
end
