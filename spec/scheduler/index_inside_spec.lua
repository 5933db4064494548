-- The inside of an index, which its own header declares: what gdn_index_verify says of each thing that is
-- broken on purpose, and what happens where counters are full. Messages against spec/goldens/texts.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local inside = require "spec.support.index_struct"
local noted = require "spec.support.noted"
local small = require "spec.support.small_index"

local notes = noted.new "index-"
local note, check = notes.note, notes.check
local MOST = 2 ^ 31 - 1

-- A path with a branch, states, a lock, a pin and nodes that wait; whatever is broken, something of it shows.
local function make()
  local index = small.new { max_nodes = 12, max_blocks = 100 }
  small.publish(index, ("a"):rep(20), small.slots_of())
  small.step(index)
  small.publish(index, ("a"):rep(20) .. "bcd", small.slots_of())
  small.publish(index, ("a"):rep(20) .. "xyz", nil)
  small.publish(index, "qrs", small.slots_of())
  small.publish(index, "tu", small.slots_of())
  small.step(index)
  small.rate(index, 0, function(node) return node.tokens end)
  local hit = small.match(index, ("a"):rep(20) .. "bcd", 92)
  assert(lib.gdn_index_lock(index.handle, hit) == 0)
  assert(lib.gdn_index_pin(index.handle, small.match(index, "qrs").node, -1, -1) == 0)
  small.publish(index, "new", small.slots_of())
  local old = ffi.new "int32_t[2]"
  assert(lib.gdn_index_move_state(index.handle, small.match(index, "tu").node, 1, small.slots_of(), old) == 0)
  assert(lib.gdn_index_verify(index.handle) == 0)
  return index, inside(index.handle)
end

local function said(index) return ffi.string(lib.gdn_index_error(index.handle)) end

-- What is said where one number is another; it is put back. What agrees all the same is not noted.
local function try(index, name, place, field, value)
  local was = place[field]
  place[field] = value
  local status = tonumber(lib.gdn_index_verify(index.handle))
  if status ~= 0 then note(name, status, said(index)) end
  place[field] = was
  assert(lib.gdn_index_verify(index.handle) == 0)
end

local FIELDS = { "first_id", "born", "state_born", "parent", "first_child", "next", "prior", "page",
                 "last_page", "start", "length", "depth", "children", "refs", "ends", "state_refs", "pins",
                 "pins_below", "num_states", "place", "used" }
-- Numbers of nodes and pages are looked up: those that there are none of end the process.
local LOOKED_UP = { parent = true, first_child = true, next = true, prior = true, page = true, start = true,
                    length = true, depth = true, place = true, used = true }

describe("Inside an index", function()
  before_each(notes.clear)

  it("a count says of each field of a node that is another", function()
    local index, x = make()
    for i = 0, x.top_node - 1 do
      for _, field in ipairs(FIELDS) do
        local was = tonumber(x.nodes[i][field])
        for _, value in ipairs { was + 1, was - 1, 0, -1 } do
          local is_other = value ~= was and not (value == 0 and math.abs(was) == 1)
          local is_safe = value >= 0 or not LOOKED_UP[field]
          if is_other and is_safe and (field ~= "page" or value < x.top_page) then
            try(index, ("node %d %s %d"):format(i, field, value), x.nodes[i], field, value)
          end
        end
      end
      for link = 0, 1 do
        for _, field in ipairs { "before", "after", "where" } do
          local was = x.nodes[i].wait[link][field]
          for value = 0, 2 do
            if value ~= was then
              local name = ("node %d %s of %d %d"):format(i, field, link, value)
              try(index, name, x.nodes[i].wait[link], field, value)
            end
          end
        end
      end
      for group = 0, 1 do
        local at = i * x.config.num_groups + group
        if i > 0 then try(index, ("slot %d"):format(at), x.slots, at, x.slots[at] < 0 and 5 or -1) end
      end
    end
    check "broken-nodes"
  end)

  it("a count says of each sum, list and page that is another", function()
    local index, x = make()
    for _, field in ipairs { "nodes", "blocks", "states", "host_states", "pinned_blocks", "pinned_states" } do
      for _, by in ipairs { -1, 1 } do try(index, field .. " " .. by, x.stats, field, x.stats[field] + by) end
    end
    for kind = 0, 2 do
      for _, field in ipairs { "oldest", "newest", "num_used" } do
        local was = x.lines[kind][field]
        for value = math.max(was - 1, 0), was + 1 do
          local name = ("%s of %d %d"):format(field, kind, value)
          if value ~= was then try(index, name, x.lines[kind], field, value) end
        end
      end
    end
    for page = 0, x.top_page - 1 do
      for value = -2, x.top_page - 1 do
        local name = ("page %d %d"):format(page, value)
        if value ~= x.page_next[page] then try(index, name, x.page_next, page, value) end
      end
    end
    for _, by in ipairs { -1, 1 } do try(index, "top_page " .. by, x, "top_page", x.top_page + by) end
    try(index, "max_pages", x, "max_pages", x.top_page - 1)
    try(index, "max_pages", x, "max_pages", x.top_page)
    for at = 0, x.table_mask do
      if x.table[at].node ~= 0 then
        try(index, "hash of node " .. x.table[at].node, x.table[at], "hash", x.table[at].hash + 1)
      end
    end
    check "broken-sums"
  end)

  it("a count says of several that agree with each other and not with the rest", function()
    local index, x = make()
    -- { place, field, value }: set one after the other, and put back.
    local function try_all(name, ...)
      local changes, were = { ... }, {}
      for n, c in ipairs(changes) do
        were[n] = c[1][c[2]]
        c[1][c[2]] = c[3]
      end
      local status = tonumber(lib.gdn_index_verify(index.handle))
      note(name, status, status ~= 0 and said(index) or "")
      for n = #changes, 1, -1 do changes[n][1][changes[n][2]] = were[n] end
      assert(lib.gdn_index_verify(index.handle) == 0)
    end
    for i = 1, x.top_node - 1 do
      local p = x.nodes[i]
      if p.children == 0 then
        try_all("no blocks " .. i, { p, "length", 0 }, { p, "depth", p.depth - p.length })
      end
      for jump = 0, i - 1 do
        try_all(("jump of %d to %d"):format(i, jump), { p, "jump", jump }, { p, "jump_tree", x.tree + 1 })
      end
    end
    for kind = 0, 2 do -- the oldest of a list is not in it
      local line, link = x.lines[kind], math.min(kind, 1)
      local after = line.oldest > 0 and x.nodes[line.oldest].wait[link].after or 0
      if after > 0 then
        try_all("list " .. kind, { line, "oldest", after }, { x.nodes[after].wait[link], "before", 0 },
          { line, "num_used", line.num_used - 1 })
      elseif line.oldest > 0 then
        try_all("list " .. kind, { line, "oldest", 0 }, { line, "newest", 0 }, { line, "num_used", 0 })
      end
    end
    check "broken-pairs"
  end)

  it("a page that is free is taken before a new one, the first one too", function()
    local index = small.new { max_nodes = 12, max_blocks = 100 }
    local x = inside(index.handle)
    for _ = 1, 20 do
      small.publish(index, "one", nil)
      small.publish(index, ("t"):rep(20), nil)
      small.step(index)
      assert.are.equal(3, x.top_page)
      assert.are.equal(2, #small.order(index)) -- all of them leave
      assert(lib.gdn_index_verify(index.handle) == 0)
    end
  end)

  it("what counts locks, pins and readers is full at 2^31 - 1, and what counts hits stays there", function()
    local index, x = make()
    local h, word = index.handle, ("a"):rep(20) .. "bcd"
    local function with(name, place, field, call)
      for _, value in ipairs { MOST, MOST - 1 } do
        local was = place[field]
        place[field] = value
        local status = call()
        note(name, value == MOST and "full" or "one left", tonumber(status),
          status == 0 and "" or said(index), ("%d"):format(tonumber(place[field])))
        place[field] = was + (status == 0 and tonumber(place[field]) - value or 0)
      end
    end
    local function lock() return lib.gdn_index_lock(h, small.match(index, word, 92)) end
    local node = small.match(index, word, 92).node
    local ids, n = small.ids_of(word)
    local kv, out = ffi.new "int32_t[64]", ffi.new "gdn_index_published"
    with("lock", x, "live_locks", lock)
    with("lock", x.nodes[node], "state_refs", lock)
    with("publish", x, "live_locks",
      function() return lib.gdn_index_publish(h, ids, n, kv, nil, 0, 1, -1, out) end)
    with("pin", x, "live_pins", function() return lib.gdn_index_pin(h, node, -1, -1) end)
    for _, field in ipairs { "hits", "state_hits", "passes" } do
      with("lock " .. field, x.nodes[field == "passes" and x.nodes[node].parent or node], field, lock)
    end
    assert.are.equal(0, lib.gdn_index_verify(h))
    check "full"
  end)
end)
