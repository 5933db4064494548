-- A state cache as a tree of its nodes: what prompts have in common, where states are, who uses them.
local ROWS = 24     -- nodes that are shown
local DEEPEST = 16  -- levels that are indented

local function plural(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

-- Lines that go on below: a level has one where a later node has the same depth before one less deep.
local function branch(nodes, n)
  local depth, parts = math.min(nodes[n].depth, DEEPEST), {}
  for level = 2, depth do
    local goes_on = false
    for k = n + 1, #nodes do
      if nodes[k].depth < level then break end
      if nodes[k].depth == level then goes_on = true break end
    end
    if level == depth then
      parts[#parts + 1] = goes_on and "|-" or "`-"
    else
      parts[#parts + 1] = goes_on and "| " or "  "
    end
  end
  return table.concat(parts) .. (nodes[n].state and "*" or "o")
end

local function state_of(node)
  if not node.state then return "-" end
  return (node.on_host and "host " or "") .. node.state_hits
end

local function states_of(s)
  if s.host_slots == 0 then return plural(s.states, "state") end
  return ("%s and %d on the host"):format(plural(s.states, "state"), s.host_states)
end

---@param cache gdnmeta.StateCache
---@return string
return function(cache)
  local s = cache:stats()
  local lines = {
    ("gdnmeta.StateCache(%s, blocks of %d tokens)"):format(cache.name, cache.block_size),
    ("  %s at the ends of %s, %s; %s and %s made so far, %s"):format(states_of(s),
      plural(s.nodes, "node"), plural(s.blocks, "block"), plural(s.hits, "hit"),
      plural(s.states_made, "state"), plural(s.states_evicted, "state") .. " evicted"),
  }
  if s.without_identity + s.untold_text > 0 then
    lines[3] = ("  %s without blocks or tokens, %s of untold tokens"):format(
      plural(s.without_identity, "request"), plural(s.untold_text, "answer"))
  end
  local nodes = cache:nodes(4 * ROWS)
  if #nodes == 0 then return table.concat(lines, "\n") end
  local width, rows = 6, math.min(#nodes, ROWS)
  local trees = {}
  for n = 1, rows do
    trees[n] = branch(nodes, n)
    width = math.max(width, #trees[n])
  end
  local head = "  %-" .. width .. "s %9s %9s %7s %7s %5s %9s"
  lines[#lines + 1] = head:format("", "tokens", "of them", "hits", "reads", "refs", "unused, s")
  for n = 1, rows do
    local node = nodes[n]
    lines[#lines + 1] = ("  %-" .. width .. "s %9.0f %9.0f %7d %7s %5d %9.3g%s"):format(trees[n],
      node.tokens, node.length, node.hits, state_of(node), node.refs, node.age,
      node.pinned and "  pinned" or "")
  end
  if s.nodes > rows then lines[#lines + 1] = ("  ... %s more"):format(plural(s.nodes - rows, "node")) end
  return table.concat(lines, "\n")
end
