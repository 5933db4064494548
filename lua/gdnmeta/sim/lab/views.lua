-- What the lab's hooks see besides nodes: `r`, the request that is served, and `ctx`. As in an engine a wrong
-- name is an error of the hook, and so is a write.
local no_field = require "gdnmeta.engine.hooks.no_field"
local positions = require "gdnmeta.engine.prefix.positions"
local read_only = require("gdnmeta.engine.hooks.view").read_only

-- What a request may lack: false in a view's fields, nil for hooks.
local MAY_LACK = { "user", "session", "class", "arrival" }

local function view(what, fields)
  return read_only(what, function(_, name)
    local value = fields[name]
    if value == nil then error(no_field(what, name, fields), 2) end
    return value or nil
  end)
end

local Views = {}
Views.__index = Views

local M = {}

---@param size integer tokens of a block
---@param slots integer
---@return table views r and ctx, as hooks see them; at: the fields of ctx
function M.new(size, slots)
  local at = { block_size = size, slots = slots, host_slots = 0, now = 0, from = 0, to = 0, blocks_end = 0,
               flops = positions.flops }
  function at.every(n) return positions.every(n, at.from, at.blocks_end, size, positions.MOST) end
  local of = {}
  return setmetatable({ r = view("r", of), ctx = view("ctx", at), of = of, at = at }, Views)
end

--- The request that comes.
---@param i integer
---@param r table
---@param hit integer tokens, as the others
---@param junction integer
---@param blocks_end integer
function Views:show(i, r, hit, junction, blocks_end)
  local of, at = self.of, self.at
  of.id, of.prompt, of.prompt_tokens = i, r.prompt, r.prompt
  of.hit, of.cached_tokens, of.computed_tokens = hit, hit, hit
  of.junction, of.prompt_end = junction, blocks_end
  for _, name in ipairs(MAY_LACK) do of[name] = r[name] or false end
  at.from, at.to, at.blocks_end = hit, r.prompt, blocks_end
end

return M
