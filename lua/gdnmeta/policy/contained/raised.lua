-- What was raised, in words. It may be anything: an exception of Python's is a userdata that knows its text.
local no_yield = require "gdnmeta.policy.contained.no_yield"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"
local foreign_text = require "gdnmeta.native.foreign_text"

local M = {}

local function call(f, value) return no_yield(pcall, f, value) end

--- The text of an error object.
---@param raised any
---@param run function|nil calls a function with a value, within whatever limits its code has to have
---@return string of bounded length, on one line
function M.text(raised, run)
  local kind = type(raised)
  if kind == "string" then return foreign_text.message(raised) end
  if kind == "number" then return ("%.14g"):format(raised) end
  local mt = kind ~= "boolean" and kind ~= "nil" and debug.getmetatable(raised)
  local own = type(mt) == "table" and rawget(mt, "__tostring")
  if own then
    if type(own) == "function" then uncompiled.keep(own) end
    local ok, text = (run or call)(tostring, raised)
    if ok and type(text) == "string" then return foreign_text.message(text) end
  end
  return kind == "nil" and "error object is nil" or "error object is a " .. kind
end

--- A module that a part of the library needs, or why there is none: it is missing, or loading it failed.
---@param name string
---@param rock string
---@return table|nil module, string? message
function M.module(name, rock)
  local ok, module = pcall(require, name)
  if ok then return module end
  local why = M.text(module)
  if why:find(("module '%s' not found:"):format(name), nil, true) then
    return nil, ("the Lua module %s is missing: `luarocks install %s`"):format(name, rock)
  end
  return nil, ("the Lua module %s cannot be loaded: %s"):format(name, why)
end

return M
