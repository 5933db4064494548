-- gdnmeta replay: builds the steps of a recording again and compares what comes of them.
local fields = require("gdnmeta.native.schema").fields
local numbers = require "gdnmeta.sim.numbers"
local recording_file = require "gdnmeta.cli.recording_file"

local SHOWN = 20 -- steps that are named

local M = {
  summary = "Build the steps of a recording again and compare the results.",
  epilog = [[
Under the rules of the recording every count and tensor must be as recorded: exit status 1 if one
differs. Under other rules it lists what differs, and which steps are refused.
examples:
  gdnmeta replay steps.jsonl
  gdnmeta replay steps.jsonl --device cuda
  gdnmeta replay steps.jsonl --rules vllm-2026-08]],
}

function M.describe(parser)
  recording_file.describe(parser)
  parser:option("--device", "cpu, cuda, cuda:N or auto (cpu)."):argname "DEVICE"
  parser:option("--rules", "strict, vllm-2026-04, vllm-2026-08 or vllm-2026-11 (those "
    .. "of the recording)."):argname "RULES"
end

local function say(comparison, step, what)
  comparison.shown = comparison.shown + 1
  if comparison.shown <= SHOWN then print(("step %.0f (line %d): %s"):format(step.step, step.line, what)) end
  if comparison.shown == SHOWN + 1 then print "..." end
end

-- A field once per step, however many groups it differs in.
local function note(comparison, step, difference)
  local name, kind = difference.name, difference.only or "differ"
  local seen = comparison.fields[name] or { differ = 0, recorded = 0, built = 0 }
  comparison.fields[name] = seen
  if seen.last ~= step then seen[kind] = seen[kind] + 1 end
  seen.last = step
end

local function words(difference)
  if difference.only then return ("%s (only %s)"):format(difference.name, difference.only) end
  if difference.group then return ("%s of group %d"):format(difference.name, difference.group) end
  return difference.name
end

local function try(comparison, rebuild, step, same_rules)
  comparison.steps = comparison.steps + 1
  local meta, message = rebuild:build(step)
  if not meta then
    comparison.refused = comparison.refused + 1
    return say(comparison, step, "refused: " .. message)
  end
  local differ, compared = rebuild:differences(step, meta)
  comparison.compared = comparison.compared + compared
  if #differ == 0 then return end
  comparison.differ = comparison.differ + 1
  local list = {}
  for i, difference in ipairs(differ) do
    note(comparison, step, difference)
    list[i] = words(difference)
  end
  if same_rules then say(comparison, step, "other than recorded: " .. table.concat(list, ", ")) end
end

-- Steps in which a field has another value, and in which only one of the two rule sets has it.
local function by_name(comparison)
  local rows = { { "steps", "other value", "only recorded", "only built" } }
  for _, list in ipairs { fields.counts, fields.tensors } do
    for _, name in ipairs(list) do
      local seen = comparison.fields[name]
      if seen then
        rows[#rows + 1] = { name, numbers.count(seen.differ), numbers.count(seen.recorded),
                            numbers.count(seen.built) }
      end
    end
  end
  return numbers.columns(rows)
end

local function steps(n) return numbers.count(n) .. (n == 1 and " step" or " steps") end

function M.run(args)
  local reader = recording_file.open(args)
  local recorded = reader.header.builder
  local rebuild = recording_file.rebuild(reader.header, args.device or "cpu", args.rules)
  local builder = rebuild.builder
  local comparison = { steps = 0, compared = 0, differ = 0, refused = 0, shown = 0, fields = {} }
  local same_rules = builder.rules == recorded.rules
  local message = recording_file.each(reader, function(step) try(comparison, rebuild, step, same_rules) end)
  if not same_rules and comparison.differ > 0 then print(by_name(comparison)) end
  print(("%s built under %s on %s, recorded under %s on %s: %s values compared, %s, %d refused"):format(
    steps(comparison.steps), builder.rules, builder.device, recorded.rules, recorded.device,
    numbers.count(comparison.compared),
    comparison.steps == 0 and "nothing to compare" or comparison.differ == 0 and "all alike"
      or steps(comparison.differ) .. " with other values",
    comparison.refused))
  recording_file.finish(reader, message)
  local is_other = same_rules and comparison.differ + comparison.refused > 0
  local is_lost = comparison.steps == 0 and reader.missing -- truncated before the first step: no answer
  return (is_other or is_lost) and 1 or 0
end

return M
