-- Shipped caches: small files that load, differ, and do what their names say; files of a host are checked.
local gdn = require "gdnmeta"
local new_path = require "spec.support.new_path"
local noted = require "spec.support.noted"

local notes = noted.new "cache-"
local note, check = notes.note, notes.check

local NAMES = { "every_block", "fifo", "fork_and_last", "gdsf", "last_block", "marconi", "offsets",
                "retain_tail", "segment_length", "superseded_first", "turns_by_tokens" }

local function lines_of(path)
  local n = 0
  for _ in io.lines(path) do n = n + 1 end
  return n
end

-- Where a cache makes states, in blocks of 4 tokens of a prompt of 41 with a hit of 8 and a junction at 12.
local function points(name)
  local ctx = { block_size = 4, from = 8, to = 41, blocks_end = 40, slots = 8 }
  function ctx.every(n)
    local list = {}
    for at = 8 + n, 40, n do list[#list + 1] = at end
    return list
  end
  local r = { prompt = 41, hit = 8, junction = 12, prompt_end = 40 }
  local list = gdn.cache(name).checkpoints(r, 8, 41, ctx)
  table.sort(list)
  return list
end

describe("Caches #lua", function()
  it("that are shipped are files of 7 to 26 lines, and no others lie there", function()
    local found = {}
    local list = io.popen "ls lua/gdnmeta/cache"
    for file in list:lines() do
      found[#found + 1] = file:match "^(.*)%.lua$"
      local n = lines_of("lua/gdnmeta/cache/" .. file)
      assert.is_true(n >= 7 and n <= 27, file)
    end
    list:close()
    assert.are.same(NAMES, found)
    for _, name in ipairs(NAMES) do
      local cache = assert(gdn.cache(name))
      assert.are.same({ name, true }, { cache.name, cache.trusted })
      assert.are.equal(("gdnmeta.Cache(%s, trusted)"):format(name), tostring(cache))
      assert.are.equal(cache, gdn.cache(cache))
      assert.are_not.equal(cache, gdn.cache(name))
    end
    assert.are.same({ nil, 'no cache "lru", want one of ' .. table.concat(NAMES, ", ")
      .. ", or the path of a Lua file" }, { gdn.cache "lru" })
  end)

  it("give a number to every node: new or old, with a state or a leaf without", function()
    local ctx = { block_size = 4, slots = 8, now = 9, flops = function(from, to) return (to - from) * to end }
    for _, name in ipairs(NAMES) do
      local worth = gdn.cache(name).worth
      for case = 0, worth and 63 or -1 do
        local function bit_of(k) return math.floor(case / 2 ^ k) % 2 end
        local nodes, values = {}, {}
        for i = 1, 2 do
          nodes[i] = { tokens = 8, parent_gap = 4 * bit_of(0), state_bytes = 100 * bit_of(1), kv_bytes = 0,
                       state_age = bit_of(2), age = bit_of(3), state_hits = bit_of(4), hits = bit_of(4),
                       is_new = bit_of(5) == 1, children = 0, superseded = bit_of(5) == 0, depth = 2 }
          values[i] = 0 / 0
        end
        worth(nodes, 2, values, ctx)
        for i = 1, 2 do assert.are.equal(values[i], values[i], name .. " " .. case) end
      end
    end
  end)

  it("are gone on from: hooks that come through a metatable count, and what they run is bounded", function()
    local function worth() end
    local base = setmetatable({ worth = worth }, { __index = { keep = print, name = "base" } })
    local cache = gdn.cache(setmetatable({ checkpoints = print, name = "mine" }, { __index = base }))
    assert.are.same({ "mine", print, worth, print },
      { cache.name, cache.checkpoints, cache.worth, cache.keep })
    assert.is_nil(rawget(cache, "demote"))
    local ok, why = pcall(function() return gdn.cache(gdn.builder {}), nil end)
    assert.is_false(ok)
    assert.matches("^[^:]*caches_spec.lua:%d+: gdnmeta.cache: gdnmeta.Builder: no field", why)
    for message, index in pairs {
      ["keep = 3, want a function"] = { keep = 3 },
      ["no idea"] = function() error "no idea" end,
      ["instruction budget spent"] = function() while true do end end,
      ["attempt to yield"] = function() coroutine.yield() end,
    } do
      ok, why = pcall(gdn.cache, setmetatable({}, { __index = index }))
      assert.is_false(ok)
      assert.matches("gdnmeta.cache: .*" .. message, why)
    end
  end)

  it("make states where their names say", function()
    assert.are.same({ 12, 16, 20, 24, 28, 32, 36, 40 }, points "every_block")
    assert.are.same({ 40 }, points "last_block")
    assert.are.same({ 32, 36, 40 }, points "retain_tail")
    assert.are.same({ 12, 40 }, points "fork_and_last")
    assert.are.same({ 16, 32, 40 }, points "offsets")
    for _, name in ipairs { "fifo", "gdsf", "marconi", "segment_length", "superseded_first",
                            "turns_by_tokens" } do
      assert.are.same({ 12, 40 }, points(name), name)
    end
  end)

  it("value what their names say", function()
    local function node(more)
      local x = { id = 1, tokens = 100, parent_gap = 100, state_hits = 0, age = 10, state_age = 10,
                  children = 0, superseded = false, state_bytes = 1, is_new = true }
      for k, v in pairs(more) do x[k] = v end
      return x
    end
    -- of these two, the second goes first
    local CASES = {
      fifo = { { value = 0 / 0 }, { value = -1, state_hits = 9 } },
      marconi = { { parent_gap = 100 }, { parent_gap = 20 } },
      segment_length = { { parent_gap = 30, state_age = 99 }, { parent_gap = 20 } },
      gdsf = { { state_hits = 3 }, { state_hits = 1, parent_gap = 150 } },
      superseded_first = { { state_age = 1e5 }, { superseded = true, children = 1 } },
      turns_by_tokens = { { parent_gap = 10 }, { superseded = true, children = 1, id = 2 } },
    }
    for name, case in pairs(CASES) do
      local values = { case[1].value or 0 / 0, case[2].value or 0 / 0 }
      gdn.cache(name).worth({ node(case[1]), node(case[2]) }, 2, values,
        { slots = 64, now = 100, flops = function(from, to) return to - from end })
      assert.is_true(values[1] > values[2], name)
    end
    local values = { 500, 0 / 0 }
    gdn.cache("gdsf").worth({ node { age = 1, state_hits = 9 }, node {} }, 2, values, {})
    assert.are.same({ 500, 100 }, values) -- a prompt that only went through it reads nothing
    local parting, other = node { superseded = true, children = 2 }, node { state_age = 11 }
    gdn.cache("superseded_first").worth({ parting, other }, 2, values, { now = 100 })
    assert.is_true(values[1] > values[2]) -- where prompts part
  end)

  it("make states of a grid of prompts where they always did, whatever they have valued before", function()
    notes.clear()
    for _, name in ipairs(NAMES) do
      local cache = gdn.cache(name)
      for _, age in ipairs(cache.worth and { 0, 2e4, 1e6 } or { 0 }) do
        if cache.worth then
          local node = { tokens = 64, parent_gap = 64, state_hits = 0, age = age, state_age = age,
                         children = 0, superseded = false, state_bytes = 1, is_new = true }
          cache.worth({ node }, 1, { 0 / 0 },
            { slots = 64, now = 100, flops = function(from, to) return to - from end })
        end
        for _, from in ipairs { 0, 4, 96 } do
          local all = {}
          for _, to in ipairs { 97, 128, 131, 2001 } do
            local last = to - to % 4
            local ctx = { block_size = 4, from = from, to = to, blocks_end = last, slots = 8 }
            function ctx.every(n)
              local list = {}
              for at = from + math.ceil(n), last, math.ceil(n) do list[#list + 1] = at end
              return list
            end
            local request = { prompt = to, hit = from, junction = from + 4, prompt_end = last }
            all[#all + 1] = table.concat(cache.checkpoints(request, from, to, ctx), ","):sub(1, 50)
          end
          note(("%s, age %g, from %d:"):format(name, age, from), table.concat(all, " | "))
        end
      end
    end
    check "points"
    notes.clear()
  end)

  it("value a grid of states as they always did", function()
    for _, name in ipairs(NAMES) do
      local cache, nodes, values = gdn.cache(name), {}, {}
      for i = 1, cache.worth and 96 or 0 do
        nodes[i] = { id = i, tokens = 96 * (i % 5 + 1), parent_gap = 48 * (i % 7 + 1), state_hits = i % 4,
                     age = 10 * (i % 3), state_age = 10 * (i % 11), children = i % 4, is_new = i % 2 == 0,
                     superseded = i % 3 == 0, state_bytes = 2 ^ (i % 3) }
        values[i] = i % 8 == 1 and 100 * i or 0 / 0
      end
      for round = 1, 2 do -- what they keep between two calls shows
        if nodes[1] then
          cache.worth(nodes, #nodes, values, { slots = 64, now = 100, flops = function(from, to)
            return 1000 + to * to - from * from
          end })
        end
        note(name .. " " .. round, values)
      end
    end
    check "worths"
  end)

  it("of a host are checked, field by field", function()
    assert.error_matches(function() gdn.cache { worht = function() end } end, 'worht')
    assert.error_matches(function() gdn.cache { worth = 3 } end, "worth = 3, want a function")
    assert.error_matches(function() gdn.cache(7) end, "gdnmeta.cache: 7, want a name, a path or a table")
    local path = new_path ".lua"
    local function file(text)
      local f = assert(io.open(path, "w"))
      f:write(text)
      f:close()
      return gdn.cache(path)
    end
    for text, why in pairs {
      ["return 3"] = "returns a number, want a table", ["worth = 1"] = "returns nothing, want a table",
      ["return {"] = "expected", ["error 'no'"] = "no",
      ["while true do end"] = "budget spent", ["return { worth = 1 }"] = "worth = 1, want a function",
      ["return { checkpoints = io.open }"] = "io",
    } do
      local made, message = file(text)
      assert.is_nil(made, text)
      assert.matches(why, message)
    end
    local made = assert(file "return { keep = function() return true end }")
    assert.are.equal(false, made.trusted)
    assert.are.same({ 5 }, made.checkpoints({ prompt_end = 5 }))
    os.remove(path)
  end)
end)
