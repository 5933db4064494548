-- What the lab's hooks see besides nodes: `r`, the request that is served, and `ctx`. They have the fields of
-- an engine's, so that a cache that runs here runs there: a wrong name is an error of the hook, and so is a
-- write.
local no_field = require "gdnmeta.engine.hooks.no_field"
local positions = require "gdnmeta.engine.prefix.positions"
local views = require "gdnmeta.engine.hooks.view"

local huge = math.huge

-- `renamed`: what an old name is called now; `text`: see view.lua.
local function view(what, fields, renamed, text)
  return views.read_only(what, function(_, name)
    local value = fields[name]
    if value == nil then
      local new = renamed and renamed(name)
      if new == nil then error(no_field(what, name, fields), 2) end
      value = fields[new]
    end
    if name == "session" then return value or nil end -- a request may have none
    return value
  end, text)
end

-- Of an `r` in every request: it comes to an empty machine, runs at once and computes its prompt alone. The
-- cost of states is in `ctx` and nodes; it has no slots of its own.
local function constants()
  return { is_decode = false, age = 0, emitted = 0, preemptions = 0, slots = 0, user_waiting = 0,
           user_requests = 1 }
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
  local of = constants()
  local function text() return ("r(id=%s)"):format(of.id) end
  local r, ctx = view("r", of, views.renamed_of_r, text), view("ctx", at)
  return setmetatable({ r = r, ctx = ctx, of = of, at = at }, Views)
end

--- The request that comes.
---@param i integer
---@param r table
---@param hit integer tokens, as the others
---@param junction integer
---@param blocks_end integer
function Views:show(i, r, hit, junction, blocks_end)
  local of, at, arrival = self.of, self.at, r.arrival or 0
  of.id, of.prompt_tokens, of.max_tokens, of.known = i, r.prompt, r.output or 1, r.prompt
  of.hit, of.cached_tokens, of.cached_prefix, of.computed_tokens, of.want = hit, hit, hit, hit, r.prompt - hit
  of.junction, of.prompt_end = junction, blocks_end
  of.ttft, of.tpot, of.priority, of.weight = r.ttft or huge, r.tpot or huge, r.priority or 0, r.weight or 1
  of.arrival, of.last_emit, of.deadline = arrival, arrival, r.deadline or arrival + of.ttft
  of.user, of.class, of.session = r.user or "", r.class or "", r.session or false
  at.from, at.to, at.blocks_end = hit, r.prompt, blocks_end
end

return M
