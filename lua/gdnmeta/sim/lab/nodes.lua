-- The model of an index: a node per block of any prompt that came, found by its id in a hash table. Ids stand
-- for a block with all before it, so that no tree is needed.
local Nodes = {}
Nodes.__index = Nodes

local M = {}

---@param size integer tokens per block
---@param o table kv_bytes per token, state_bytes
---@return table
function M.new(size, o)
  return setmetatable({ size = size, kv = o.kv_bytes * size, state_bytes = o.state_bytes, of = {} }, Nodes)
end

--- Nodes of the prompt's blocks, and how many of them are of earlier prompts.
---@param r table
---@return table path, integer known
function Nodes:path(r)
  local path, of, known, before = {}, self.of, 0, nil
  for i = 1, #r.blocks do
    local node = of[r.blocks[i]]
    if node then
      known = i
    else
      node = { id = r.blocks[i], tokens = i * self.size, length = self.size, kv_bytes = self.kv, hits = 0,
               state_bytes = self.state_bytes, state_hits = 0, children = 0, refs = 0, age = 0, state_age = 0,
               created = 0, last_use = 0, parent_gap = 0, passes = 0, superseded = false, is_new = true,
               user = r.user, before = before, path = path }
      of[node.id] = node
    end
    path[i], before = node, node
  end
  return path, known
end

--- The prompt has gone through: it is counted, and its new blocks are known from now on.
---@param path table
---@param known integer
---@param now number
function M.enter(path, known, now)
  for i = 1, #path do
    local node = path[i]
    node.last_use = now
    if i > known then
      node.created = now
      if node.before then node.before.children = node.before.children + 1 end
    else
      node.hits = node.hits + 1
      if i < #path then node.passes, node.superseded = node.passes + 1, true end
    end
  end
end

return M
