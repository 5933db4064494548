-- What a Lua file of a policy or a cache returns, run in its sandbox within a budget.
local args = require "gdnmeta.native.args"
local budget = require "gdnmeta.policy.contained.budget"
local foreign_text = require "gdnmeta.native.foreign_text"
local read_file = require "gdnmeta.native.read_file"
local sandbox = require "gdnmeta.policy.contained.sandbox"

local LOAD_BUDGET = 1e7 -- instructions that a file may spend while it is loaded
local LONGEST = 2^22 -- bytes of a file

local M = { LOAD_BUDGET = LOAD_BUDGET }

--- The message of what is wrong with a file's value.
---@param kind string "policy" or "cache"
---@return string
function M.problem(kind, path, message)
  return ("%s %s: %s"):format(kind, foreign_text.long(path), message)
end

--- Is it the path of a file, and no name of a shipped one?
---@return boolean
function M.is_path(what)
  return type(what) == "string" and (what:find "[/\\]" or what:find "%.lua$") ~= nil
end

--- The text of a file.
---@return string|nil text, string? message
function M.read(kind, path)
  local source, problem
  problem = args.path_problem("path", path)
  if not problem then source, problem = read_file(path, LONGEST) end
  if problem then return nil, kind .. " " .. problem end
  return source
end

--- Load a file and run it.
---@param kind string "policy" or "cache", for messages
---@param trusted boolean|nil its code may be compiled
---@param source string|nil the file's text, if the host has read it already
---@return boolean|nil ok, any value or the message
function M.load(kind, path, trusted, source)
  local problem = source and args.path_problem("path", path)
  if problem then return nil, kind .. " " .. problem end
  if not source then source, problem = M.read(kind, path) end
  if problem then return nil, problem end
  local chunk, why = sandbox.load(source, path)
  if not chunk then return nil, kind .. " " .. foreign_text.message(why) end
  if not trusted then jit.off(chunk, true) end
  local ok, value = budget.run(LOAD_BUDGET, chunk)
  if not ok then return nil, M.problem(kind, path, value) end
  return true, value
end

return M
