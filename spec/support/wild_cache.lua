-- A cache whose hooks decide at random, and do at random what they may not.
local function pick(list, draw) return list[draw(#list)] end

-- What the hooks of a cache may not return, or do.
local WRONGS = {
  function() error "cache" end,
  function() error {} end,
  function() while true do end end,
  function() return 0 / 0 end,
  function() return "a string" end,
  function() return nil end,
  function() return { "8", {}, false } end,
  function() return { -4, 0 / 0, 1e300, 1.5, 0 } end,
  function(a) a.tokens = -1 return a.no_such_field.again end,
  function() local function deeper() return 1 + deeper() end return deeper() end,
}

local function sometimes(draw, right, is_lawful)
  if is_lawful then return right end
  return function(...)
    if draw(12) > 1 then return right(...) end
    return pick(WRONGS, draw)(...)
  end
end

local FIELDS = { "tokens", "length", "kv_bytes", "state_bytes", "hits", "state_hits", "age", "state_age",
                 "refs", "children", "parent_gap", "passes", "worth" }
local MARKS = { "superseded", "pinned", "on_host", "is_new" }

-- A worth that changes with every field of a node.
local function of_all(node)
  local sum = 0
  for n, name in ipairs(FIELDS) do
    local value = node[name]
    sum = (sum * 3 + (value == value and value or 5) * n) % 4099 -- NaN: it was never valued
  end
  for n, name in ipairs(MARKS) do sum = sum + (node[name] and 2 ^ n or 0) end
  for n, name in ipairs { "user", "session" } do
    sum = sum + (type(node[name]) == "string" and node[name]:byte(-1) or 7) * 5 ^ n
  end
  return sum
end

--- A cache of random decisions.
---@param draw function draw(n): a random number in 1 .. n
---@param has_host boolean the engine has a host tier
---@param is_lawful boolean|nil it does not err, loop and lie now and then
---@return table as gdn.cache takes it
return function(draw, has_host, is_lawful)
  return {
    checkpoints = sometimes(draw, function(r, from, to, ctx)
      return draw(2) == 1 and { r.junction, r.prompt_end } or { draw(to), from + 1, draw(1000) - 500,
                                                               unpack(ctx.every(4 * draw(3))) }
    end, is_lawful),
    keep = sometimes(draw, function(node)
      if not is_lawful or draw(2) == 1 then return draw(3) > 1 end
      return node.tokens + 3 * node.parent_gap + (node.answer and 500 or 0)
    end, is_lawful),
    demote = has_host and sometimes(draw, function() return draw(2) == 1 and "host" or "drop" end, is_lawful)
      or nil,
    worth = (not is_lawful or draw(2) == 1) and sometimes(draw, function(nodes, n, values, ctx)
      for k = 1, n do
        local lie = is_lawful and 9 or draw(40)
        values[k] = lie == 1 and 0 / 0 or lie == 2 and "much" or lie == 3 and math.huge or nodes[k].tokens
        if is_lawful then
          values[k] = of_all(nodes[k]) + ctx.flops(nodes[k].parent_gap, nodes[k].tokens)
        end
      end
      if not is_lawful then values[n + 1], nodes[1] = 7, draw(20) == 1 and {} or nodes[1] end
    end, is_lawful) or nil,
  }
end
