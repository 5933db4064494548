-- Requests of random traffic. What one says depends on the request alone, not on steps.
local M = {}

local random = math.random

--- n requests of `families` texts; a request says `output` tokens, unless a limit comes first.
function M.requests(c, n)
  local list = {}
  for id = 1, n do
    local prompt = random(1, c.max_model_len - 1)
    list[id] = { id = id, prompt_tokens = prompt, max_tokens = random(1, 30), output = random(1, 30),
                 family = random(4), variant = id % 3, user = "u" .. random(3), class = "class " .. id % 4,
                 weight = random(1, 2), priority = random(0, 2),
                 start = random(0, n) }
  end
  table.sort(list, function(a, b)
    if a.start ~= b.start then return a.start < b.start end
    return a.id < b.id
  end)
  return list
end

--- What the full blocks of n tokens are: of its family, and from some block on of one of its variants.
--- Requests of an even family are known by their tokens, others by ids of blocks.
function M.identity(c, request, n)
  local blocks = {}
  for k = 1, math.floor(n / c.hash_block) do
    blocks[k] = request.family * 1000 + k + (k > 1 + request.family and request.variant * 1e6 or 0)
  end
  return blocks
end

-- Tokens of a request's text from the first, 0-based, on.
function M.tokens(c, request, first, n)
  local list = {}
  for k = 1, n do
    local block = math.floor((first + k - 1) / c.hash_block) + 1
    list[k] = request.family * 1000 + block + (block > 1 + request.family and request.variant * 1e6 or 0)
  end
  return list
end

return M
