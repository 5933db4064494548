-- Tables that a cache's hook gets and that are filled again for the next one. It can do anything to them, and
-- what their metamethods would do, they would do to the engine, within no limits: one that has any of its own
-- is replaced.
local no_field = require "gdnmeta.engine.hooks.no_field"
local printed = require "gdnmeta.native.printed"

local metatable_of = debug.getmetatable -- the other one shows what a metatable says of itself

-- As policies see a node. Each is set before it is shown; one that was forgotten would be no number.
local function fields()
  return { id = "", tokens = "", length = "", kv_bytes = "", state_bytes = "", hits = "", state_hits = "",
           age = "", state_age = "", created = "", refs = "", children = "", parent = "", parent_gap = "",
           passes = "", superseded = "", pinned = "", on_host = "", mark = "", worth = "", is_new = "",
           priority = "", session_requests = "" }
end

-- Of those the hooks may ask for, these are nil at times. Numbers of the index itself are no field of theirs.
local KNOWN = fields()
for _, name in ipairs { "parent", "passes", "mark", "worth" } do KNOWN[name] = nil end
for _, name in ipairs { "user", "session", "session_age", "answer" } do KNOWN[name] = name end

local SHOWN = { "id", "tokens", "parent_gap", "state_hits", "state_age", "hits", "age", "children",
                "priority", "session", "user" }

-- Asked only for what is not in the table.
local NODE = {
  __index = function(_, name)
    if KNOWN[name] == nil then error(no_field("node", name, KNOWN), 2) end
  end,
  __tostring = function(node) return printed.text("node", node, SHOWN) end,
  __metatable = false,
}

local M = {}

--- A node that is to be filled.
---@return table
function M.blank() return setmetatable(fields(), NODE) end

--- A node of a state that is to be kept. It has no `id` and no bytes yet.
---@param tokens integer from the start of the prompt to its end
---@param gap integer tokens since the state before it
---@param now number
---@param is_answer boolean
---@return table
function M.coming(tokens, gap, now, is_answer)
  return setmetatable({
    tokens = tokens, length = tokens, parent_gap = gap, hits = 0, state_hits = 0, age = 0, state_age = 0,
    created = now, refs = 1, children = 0, superseded = false, pinned = false, on_host = false,
    is_new = true, priority = 0, session_requests = 0, answer = is_answer,
  }, NODE)
end

--- A list that was a hook's, or an empty one.
---@param list table
---@return table
function M.plain(list)
  if metatable_of(list) then return {} end
  return list
end

--- The k-th table for a node, which was a hook's.
---@param own table[] is not shown to hooks
---@param k integer
---@return table
function M.node(own, k)
  if metatable_of(own[k]) ~= NODE then own[k] = M.blank() end
  return own[k]
end

return M
