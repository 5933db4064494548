-- What the library refuses, as the command line says it: options of sim.run by the flags that set them, for
-- a message that names num_slots says nothing to a user who typed --slots.
local fail = require("gdnmeta.cli.values").fail
local flags = require "gdnmeta.cli.flags"

local M = {}

-- Names of the library's functions that a message begins with, and what a user typed instead.
local CALLS = { ["^gdnmeta%.%w+: "] = "", ["^sim%.run: "] = "", ["^acceptance%.new: "] = "--accept: " }

local FLAGS = { host_slots = "--host-slots", cache_slots = "--cache-slots", host_link = "--host-link" }
for _, o in ipairs(flags.list) do FLAGS[o[3]] = o[1] end

-- Options of one word are words of a sentence, too, but not in front of a colon. What stands between dots,
-- dashes and slashes is of a path.
local function flag_of(message, from, name, to)
  if not name:find "_" or message:find("^[./-]", from - 1) or message:find("^[/.-]%S", to) then return nil end
  return FLAGS[name]
end

--- A message of the library, by flags.
---@param message string
---@return string
function M.by_flag(message)
  for call, instead in pairs(CALLS) do message = message:gsub(call, instead) end
  message = message:gsub("^(%a+): ", function(name) return FLAGS[name] and FLAGS[name] .. ": " end)
  message = message:gsub("()%f[%w_]([%a_][%w_]*)()", function(from, name, to)
    return flag_of(message, from, name, to) -- nil leaves it
  end)
  return (message:gsub("(%-%-[%a-]+) %(%1%)", "%1"))
end

--- What was raised: a refusal of the library by flags, others as they are.
---@param message string without a place in the source
---@return string
function M.raised(message)
  for call in pairs(CALLS) do
    if message:find(call) then return M.by_flag(message) end
  end
  return message
end

--- gdn.sim.run; fails by flags.
---@param options table
---@return table run
function M.run(options)
  local run, message = require("gdnmeta.sim").run(options)
  if not run then fail("%s", M.by_flag(message)) end
  run.rejection = run.rejection and M.by_flag(run.rejection)
  return run
end

return M
