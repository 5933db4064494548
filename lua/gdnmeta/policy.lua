--- gdnmeta.policy(what): what runs next, as a table of hooks. `what` is the name of a shipped policy, the
-- path of a Lua file that returns a table or a function, such a table, or such a function.
local args = require "gdnmeta.native.args"
local domains = require "gdnmeta.native.domains"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"
local options_of = require "gdnmeta.native.options"
local methods = require "gdnmeta.native.methods"
local load_file = require "gdnmeta.policy.contained.load_file"
local read_fields = require "gdnmeta.policy.contained.read_fields"
local foreign_text = require "gdnmeta.native.foreign_text"

local LONGEST_NAME = 200 -- bytes: logs, pages and messages show it
local SHIPPED = { "deadline", "decode_first", "fair", "fcfs", "priority", "shortest_prefill" }

---@class gdnmeta.Policy
---@field name string
---@field trusted boolean its code runs compiled and without a budget
local Policy = {}

function Policy:__tostring()
  return ("gdnmeta.Policy(%s%s)"):format(self.name, self.trusted and ", trusted" or "")
end

-- How to make a policy again whose shipped part keeps books, and which ones an engine has had.
local remake, used = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })

--- Itself, or, where an engine has had it before, one of the same fields whose books are empty: those who
--- left meanwhile would stay in them.
---@local
function Policy:fresh()
  local again = used[self] and remake[self]
  used[self] = true
  return again and again() or self
end

local either, flag, where = domains.either, domains.flag, domains.where
local text, hook = domains.of_type "string", domains.of_type "function"

local function positive(value) return type(value) == "number" and value >= 1 end
local function is_limit(value) return value == 0 or positive(value) end

-- Field -> its domain.
local FIELDS = {
  name = text,
  order = domains.of_type("string", "the name of a shipped policy"),
  decode_first = flag,
  static = flag,
  trusted = flag,
  group = domains.one_of { "user", "class" },
  chunk = either(where(positive, "a number >= 1"), hook),
  drafts = either(where(is_limit, "a number >= 0"), hook),
  victim = either(domains.one_of { "last", "least_computed", "most_computed" }, hook),
  preempt_for = either(flag, hook),
}
local HOOKS = { "key", "admit", "step", "on_admit", "on_arrival", "on_emit", "on_finish", "on_preempt" }
for _, name in ipairs(HOOKS) do FIELDS[name] = hook end

-- A file does not say itself that it is trusted.
local FIELDS_OF_FILE = {}
for name, domain in pairs(FIELDS) do FIELDS_OF_FILE[name] = name ~= "trusted" and domain or nil end

-- What may be nil in a policy that is made.
local OPTIONAL = { chunk_limit = true, drafts_limit = true, victim_kind = true, scores_stay = true }
for name in pairs(FIELDS) do OPTIONAL[name] = true end
methods.strict("Policy", Policy, OPTIONAL)

-- For levels 0 and 1.
local PACKING = { "admit", "chunk", "drafts", "victim", "preempt_for", "group", "static", "decode_first" }

local function check(fields, is_file)
  local known = is_file and FIELDS_OF_FILE or FIELDS
  for name, value in pairs(fields) do
    local domain = known[name]
    if not domain then return options_of.unknown("field", name, known) end
    local taken, wanted = domain(value)
    if taken == nil then return args.wrong(name, value, wanted) end
  end
  if fields.order and fields.key then return "order and key are both given, want one" end
  if fields.step and (fields.key or fields.order) then return "step and a key are both given, want one" end
  for _, name in ipairs(PACKING) do
    if fields.step and fields[name] ~= nil then
      return ("step and %s are both given, want one: plan:fill() asks no hooks"):format(name)
    end
  end
end

local load_shipped

-- The policy of checked fields; strings and numbers become what the engine calls.
local function assemble(fields, name, trusted)
  local policy, has_code = {}, false
  if fields.order then
    local base, message = load_shipped(fields.order)
    if not base then return nil, message end
    for field, value in pairs(base) do policy[field] = value end
  end
  -- Those of a shipped policy with static keys. Others' may change at any time.
  policy.scores_stay = policy.static and fields.victim == nil and type(fields.preempt_for) ~= "function"
  local preempt_for = policy.preempt_for
  for field, value in pairs(fields) do
    policy[field] = value
    has_code = has_code or type(value) == "function"
  end
  policy.name = foreign_text.clean(fields.name or name or fields.order or "anonymous", LONGEST_NAME)
  policy.order = nil
  if type(policy.chunk) == "number" then policy.chunk, policy.chunk_limit = nil, math.floor(policy.chunk) end
  if type(policy.drafts) == "number" then
    policy.drafts, policy.drafts_limit = nil, math.floor(policy.drafts)
  end
  if type(policy.victim) == "string" then policy.victim, policy.victim_kind = nil, policy.victim end
  if policy.preempt_for == true then
    policy.preempt_for = preempt_for or policy.victim
    if not policy.preempt_for then return nil, "preempt_for = true, want a victim hook with it" end
  end
  if policy.decode_first == nil then policy.decode_first = true end
  policy.static = policy.static or false
  policy.trusted = trusted or fields.trusted or not has_code
  if not policy.trusted then
    for _, value in pairs(policy) do
      if type(value) == "function" then uncompiled.keep(value) end
    end
  end
  return setmetatable(policy, Policy)
end

local function from_value(value, name, trusted, is_file)
  if type(value) == "function" then value = { step = value } end
  if type(value) ~= "table" then
    return nil, args.returns(value) .. ", want a table or a function"
  end
  local fields, message = read_fields(value, FIELDS)
  if not fields then return nil, message end
  message = check(fields, is_file)
  if message then return nil, message end
  return assemble(fields, name, trusted)
end

-- source: the file's text, if it was read already.
local function from_file(path, name, trusted, source)
  local ok, value = load_file.load("policy", path, trusted, source)
  if not ok then return nil, value end
  local made, problem = from_value(value, name, trusted, true)
  if not made then return nil, load_file.problem("policy", path, problem) end
  return made
end

function load_shipped(name)
  local path = name:find "^[%w_]+$" and package.searchpath("gdnmeta.policy." .. name, package.path)
  if path then return from_file(path, name, true) end
  local shipped = table.concat(SHIPPED, ", ")
  return nil, ("no policy %s, want one of %s, or the path of a Lua file"):format(args.show(name), shipped)
end

local OPTIONS = { trusted = { nil, flag }, name = { nil, text }, source = { nil, text } }

--- A policy for gdnmeta.engine. Every call loads it again, so that counters are not shared.
--- Policies of your own are interrupted when they loop forever; trusted = true compiles them instead,
--- and an endless loop then hangs.
---@param what string|table|function
---@param options table|nil { trusted = boolean, name = string, source = string: the text of the file that
--- `what` names, where the host has read it; the file is not opened }
---@return table|nil policy
---@return string? message
local function policy(what, options)
  if getmetatable(what) == Policy then return what end
  options = options_of.parse("gdnmeta.policy", options, OPTIONS)
  if load_file.is_path(what) then
    return from_file(what, options.name or what, options.trusted, options.source)
  end
  if options.source then error("gdnmeta.policy: source is given, and what is no path", 2) end
  if type(what) == "string" then
    local made, message = load_shipped(what)
    if made then remake[made] = function() return load_shipped(what) end end
    return made, message
  end
  if type(what) ~= "table" and type(what) ~= "function" then
    error(("gdnmeta.policy: %s, want a name, a path, a table or a function"):format(args.show(what)), 2)
  end
  local made, message = from_value(what, options.name, options.trusted, false)
  if not made then error("gdnmeta.policy: " .. message, 2) end
  if type(what) == "table" and made.group and rawget(what, "order") then
    remake[made] = function() return from_value(what, options.name, options.trusted, false) end
  end
  return made
end

return policy
