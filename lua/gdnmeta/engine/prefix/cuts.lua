-- Where prompts are to leave states: their chunks end there. Parts of the object of prefix_cache.lua.
local max, min = math.max, math.min

local PrefixCache = {}

local NEVER = 2 ^ 40 -- tokens

-- Tokens from `computed` to `at`, NEVER where that is no way ahead. Without a branch: each would double the
-- code that follows it in a step.
local function way(computed, at)
  local n = at - computed
  return n + NEVER * max(0, min(1, 1 - n))
end

-- The cache's hook is asked once a chunk, or again where the chunk is longer than it was to be.
local function ask(self, i, computed, to)
  local r = self.engine.requests
  if r.asked_to[i] < to or r.asked_from[i] > computed then
    self.cut_lists[i] = self.cut_lists[i] or {}
    r.cuts[i] = self.hooks:checkpoints(i, computed, to, self.cut_lists[i]) or false
    r.asked_from[i], r.asked_to[i] = computed, to
  end
  return r.cuts[i]
end

-- The first place that the hook names; false: it failed.
local function by_hook(self, i, most)
  local r = self.engine.requests
  local computed = r.computed[i]
  local cuts = ask(self, i, computed, min(computed + most, r.prompt[i]))
  for n = 1, cuts and #cuts or 0 do
    if cuts[n] > computed then return cuts[n] end
  end
  return cuts and computed + NEVER
end

--- How many tokens of request i, at most so many, its next chunk may have: up to the junction with another
--- prompt and the last full block, or where the cache's hook says.
---@return integer tokens
function PrefixCache:cut_chunk(i, most)
  local r = self.engine.requests
  local computed = r.computed[i]
  if self.hooks and most > 0 and r.ids[i] and computed < r.prompt[i] then
    local at = by_hook(self, i, most)
    if at then return min(most, at - computed) end
  end
  return min(most, way(computed, r.junction[i]), way(computed, r.last_block[i]))
end

--- Does request i leave a state where its next chunk ends?
---@return boolean
function PrefixCache:leaves_state(i, ends)
  local r = self.engine.requests
  local cuts = self.hooks and r.cuts[i]
  if not cuts then return ends == r.junction[i] or ends == r.last_block[i] end
  for n = 1, #cuts do
    if cuts[n] == ends then return true end
  end
  return false
end

return PrefixCache
