-- Where the code of a policy file runs: values and arithmetic, no files, no ffi, no clock, nothing that
-- catches errors, no way to the host's own tables. Not a wall against an attacker, but a mistake in a
-- policy stays in the policy.
local charged = require "gdnmeta.policy.contained.charged"

local M = {}

local FREE = { "assert", "error", "ipairs", "next", "pairs", "select", "setmetatable", "tonumber", "tostring",
               "type", "unpack" }
local LIBRARIES = {
  math = { "abs", "ceil", "cos", "exp", "floor", "fmod", "frexp", "huge", "ldexp", "log", "max", "min",
           "modf", "pi", "pow", "sin", "sqrt" },
  string = { "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse",
             "sub", "upper" },
  table = { "concat", "insert", "maxn", "remove", "sort" },
  bit = { "band", "bor", "bxor", "bnot", "lshift", "rshift", "arshift", "rol", "ror", "tobit" },
}

local function pick(from, names)
  local copy = {}
  for _, name in ipairs(names) do copy[name] = from[name] end
  return copy
end

--- A fresh set of globals.
---@return table
function M.environment()
  local env = pick(_G, FREE)
  for name, names in pairs(LIBRARIES) do env[name] = pick(require(name), names) end
  for _, name in ipairs { "string", "table" } do
    for field, f in pairs(charged[name]) do env[name][field] = f end
  end
  env._G = env
  return env
end

--- The chunk of a source text, in an environment of its own.
---@param source string
---@param name string shown in messages
---@return function|nil chunk, string? message
function M.load(source, name)
  if source:sub(1, 1) == "\27" then return nil, name .. " is bytecode, want text" end
  return load(source, "@" .. name, "t", M.environment())
end

return M
