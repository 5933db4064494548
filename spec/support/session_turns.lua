-- An engine with a state cache of blocks of 4 tokens, and turns of sessions that it serves one at a time.
local serve = require "spec.support.run_engine"

local M = {}

--- 9 state slots where nothing else is given.
---@param options table|nil of the engine
---@param builder table|nil options of the builder
function M.engine(options, builder)
  local b = { num_slots = 9 }
  for name, value in pairs(builder or {}) do b[name] = value end
  return serve.caching_engine(options, b)
end

--- n tokens, of which no others share any.
---@param from integer of the text
---@return table
function M.text(from, n)
  local list = {}
  for k = 1, n do list[k] = 1000 * from + k end
  return list
end

local number = 0

--- Serves one request.
---@param session any|nil
---@param from integer of the prompt's text
---@param n integer tokens of the prompt
---@return integer cached how many of its tokens were cached
function M.turn(e, session, from, n)
  number = number + 1
  local before = e.stats.cached_tokens
  assert(e:submit { id = number, prompt_tokens = n, max_tokens = 2, tokens = M.text(from, n),
                    session = session })
  serve.run(e)
  return e.stats.cached_tokens - before
end

return M
