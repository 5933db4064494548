--- gdnmeta.cache(what): which states a prefix cache makes and keeps, as a table of hooks. `what` is the name
-- of a shipped cache, the path of a Lua file that returns a table, or such a table.
local args = require "gdnmeta.native.args"
local domains = require "gdnmeta.native.domains"
local foreign_text = require "gdnmeta.native.foreign_text"
local methods = require "gdnmeta.native.methods"
local options_of = require "gdnmeta.native.options"
local load_file = require "gdnmeta.policy.contained.load_file"
local read_fields = require "gdnmeta.policy.contained.read_fields"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"

local LONGEST_NAME = 200 -- bytes
local SHIPPED = { "every_block", "fifo", "fork_and_last", "gdsf", "last_block", "marconi", "offsets",
                  "retain_tail", "segment_length", "superseded_first", "turns_by_tokens" }

---@class gdnmeta.Cache
---@field name string
---@field trusted boolean its code runs compiled and without a budget
---@field checkpoints function(r, from, to, ctx) positions in (from, to] where a state is made
---@field keep function|nil (node, ctx) is a state kept that could be?
---@field worth function|nil (nodes, n, values, ctx) fills values[1 .. n]; the least goes. None: the one least
--- recently used
---@field demote function|nil (node, ctx) "host" or "drop"
local Cache = {}

function Cache:__tostring()
  return ("gdnmeta.Cache(%s%s)"):format(self.name, self.trusted and ", trusted" or "")
end

local text, hook, flag = domains.of_type "string", domains.of_type "function", domains.flag
local FIELDS = { name = text, checkpoints = hook, keep = hook, worth = hook, demote = hook }
methods.strict("Cache", Cache, { keep = true, worth = true, demote = true })

local function last_block(r) return { r.prompt_end } end

local function assemble(value, name, trusted)
  if type(value) ~= "table" then return nil, args.returns(value) .. ", want a table" end
  local cache = {}
  local fields, message = read_fields(value, FIELDS)
  if not fields then return nil, message end
  for field, given in next, fields do
    local domain = FIELDS[field]
    if not domain then return nil, options_of.unknown("field", field, FIELDS) end
    local taken, wanted = domain(given)
    if taken == nil then return nil, args.wrong(field, given, wanted) end
    cache[field] = given
    if not trusted and type(given) == "function" then uncompiled.keep(given) end
  end
  cache.name = foreign_text.clean(cache.name or name or "anonymous", LONGEST_NAME)
  cache.checkpoints, cache.trusted = cache.checkpoints or last_block, trusted or false
  return setmetatable(cache, Cache)
end

-- source: the file's text, if it was read already.
local function from_file(path, name, trusted, source)
  local ok, value = load_file.load("cache", path, trusted, source)
  if not ok then return nil, value end
  local made, problem = assemble(value, name, trusted)
  if not made then return nil, load_file.problem("cache", path, problem) end
  return made
end

local OPTIONS = { trusted = { nil, flag }, name = { nil, text }, source = { nil, text } }

--- The hooks of a cache. Every call loads it again, so that what it counts is not shared. Files of your own
--- run uncompiled unless trusted = true.
---@param what string|table
---@param options table|nil { trusted = boolean, name = string, source = string: the text of the file that
--- `what` names, where the host has read it; the file is not opened }
---@return table|nil cache
---@return string? message
local function cache(what, options)
  if getmetatable(what) == Cache then return what end
  options = options_of.parse("gdnmeta.cache", options, OPTIONS)
  local is_path = load_file.is_path(what)
  if options.source and not is_path then error("gdnmeta.cache: source is given, and what is no path", 2) end
  if type(what) == "table" then
    local made, message = assemble(what, options.name, options.trusted)
    if not made then error("gdnmeta.cache: " .. message, 2) end
    return made
  end
  if type(what) ~= "string" then
    error(("gdnmeta.cache: %s, want a name, a path or a table"):format(args.show(what)), 2)
  end
  if is_path then
    return from_file(what, options.name or what:match "[^/\\]*$", options.trusted, options.source)
  end
  local path = what:find "^[%w_]+$" and package.searchpath("gdnmeta.cache." .. what, package.path)
  if path then return from_file(path, what, true) end
  return nil, ("no cache %s, want one of %s, or the path of a Lua file"):format(args.show(what),
    table.concat(SHIPPED, ", "))
end

return cache
