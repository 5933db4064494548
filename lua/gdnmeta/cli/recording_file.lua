-- What inspect and replay share: opening a recording, walking its steps, and saying what it lacks.
local fail = require("gdnmeta.cli.values").fail
local values = require "gdnmeta.cli.values"
local foreign_text = require "gdnmeta.native.foreign_text"

local M = {}

--- Declare the arguments.
function M.describe(parser)
  parser:argument("file", "A file that engine:record wrote.")
  parser:option("--memory", "Most MiB that its builder may allocate (1024)."):argname "MIB"
end

---@param args table parsed
---@return table reader
function M.open(args)
  local mib = values.read("--memory", args.memory, values.number(1, 2 ^ 20, "MiB"), 1024)
  values.read("file", args.file, values.text "a path")
  local reader, message = require("gdnmeta.record").open(args.file, mib * 2 ^ 20)
  if not reader then
    local no_json = message:find ":1: Expected "
    fail("%s%s", message, no_json and "; want a recording, which engine:record writes" or "")
  end
  return reader
end

--- Call use(step) for each step. A line that is none ends it; what was done until then stays.
---@param reader table
---@param use function
---@return string|nil message what was refused
function M.each(reader, use)
  while true do
    local step, message = reader:next()
    if not step then return message end
    use(step)
  end
end

--- Report on stderr what a file that ends early lacks, or fail if a line was refused.
---@param reader table
---@param message string|nil as M.each gave it
function M.finish(reader, message)
  io.stdout:flush()
  if message then fail("%s", message) end
  if not reader.missing then return end
  io.stderr:write("gdnmeta: ", foreign_text.long(reader.path), ": ", reader.missing, "\n")
end

--- The builder of a step, or why it cannot be made.
---@param header table
---@param device string
---@param rules string|nil
---@return table rebuild
function M.rebuild(header, device, rules)
  local _, problem = require("gdnmeta.builder.options").parse { device = device, rules = rules }
  if problem then fail("--%s", problem) end
  local rebuild, message = require("gdnmeta.record.rebuild").new(header, device, rules)
  if not rebuild then fail("%s", message) end
  return rebuild
end

return M
