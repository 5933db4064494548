-- How messages name the rules that a plan must keep: by the number and the words of docs/invariants.md.
local NAMES = {
  I1 = "one row per request", I2 = "a token per row", I3 = "token budget", I4 = "running requests",
  I5 = "known tokens", I6 = "model length", I7 = "drafts", I9 = "long prompts", I10 = "whole prompts",
  I11 = "block boundaries", I13 = "memory", I21 = "admission and preemption", I22 = "victims",
  I24 = "progress",
}

local rules = {}
for number, name in pairs(NAMES) do rules[number] = ("%s, %s: "):format(number, name) end
return rules
