-- Hooks of a cache see the same in the lab and in an engine: fields of `r`, `ctx`, nodes, by name and kind.
local gdn = require "gdnmeta"
local old_names = require "gdnmeta.native.old_names"
local serve = require "spec.support.run_engine"

local SIZE = 4
local REQUESTS = {
  { blocks = { 1, 2, 3 } }, { blocks = { 1, 2, 4 }, session = "s", user = "u", class = "c" },
  { blocks = { 5, 6, 7 } }, { blocks = { 1, 2, 8 } }, { blocks = { 9, 10, 11 } }, { blocks = { 5, 6, 12 } },
}

-- Names that are said to be there where one is asked for that is not.
local function names_of(object)
  local ok, message = pcall(function() return object.no_such_field end)
  assert(not ok)
  return assert(message:match "has no field no_such_field, want one of (.*)$", message)
end

-- A cache that writes down what its hooks see.
local function witness()
  local seen = { r = {}, ctx = {}, coming = {}, node = {} }
  local function note(into, object)
    local names = names_of(object)
    into.names = into.names or names
    assert(into.names == names)
    for name in names:gmatch "[%w_]+" do
      into[name] = into[name] or {}
      into[name][type(object[name])] = true
    end
  end
  return seen, gdn.cache {
    name = "witness",
    checkpoints = function(r, _, _, ctx)
      note(seen.r, r)
      note(seen.ctx, ctx)
      return { r.junction, r.prompt_end }
    end,
    keep = function(node) note(seen.coming, node) return true end,
    worth = function(nodes, n, values)
      for k = 1, n do
        note(seen.node, nodes[k])
        values[k] = nodes[k].created
      end
    end,
  }
end

local function in_an_engine(cache)
  local e = serve.caching_engine({ cache = cache }, { num_slots = 5, max_num_seqs = 1 })
  for id, request in ipairs(REQUESTS) do
    assert(e:submit { id = id, prompt_tokens = 14, max_tokens = 1, blocks = request.blocks,
                      session = request.session, user = request.user, class = request.class })
    while not e:idle() do assert(e:complete(assert(e:step(id)), id)) end
  end
  assert.are.same({}, (e:failures()))
  e:close()
end

local function in_the_lab(cache)
  local list = { block_size = SIZE }
  for id, request in ipairs(REQUESTS) do
    list[id] = { arrival = id, prompt = 14, output = 1, blocks = request.blocks, session = request.session,
                 user = request.user, class = request.class }
  end
  gdn.sim.lab.replay(list, cache, { slots = 3 })
end

describe("Hooks of a cache #lua", function()
  it("see the same fields, of the same kinds, in the lab and in an engine", function()
    local engine, cache = witness()
    in_an_engine(cache)
    local lab
    lab, cache = witness()
    in_the_lab(cache)
    assert.are.same(engine, lab)
    for _, what in ipairs { "r", "ctx", "coming", "node" } do assert.is_truthy(engine[what].names, what) end
  end)

  it("may call fields of r by the names of the release before in both, and are told once", function()
    local was, seen = gdn.on_deprecated, {}
    local function cache()
      return gdn.cache { checkpoints = function(r)
        assert(r.prompt == r.prompt_tokens and r.computed == r.computed_tokens)
        return {}
      end }
    end
    gdn.on_deprecated = function(_, old, new) seen[#seen + 1] = old .. " " .. new end
    for _, run in ipairs { in_an_engine, in_the_lab } do
      old_names.seen["r.prompt"], old_names.seen["r.computed"] = nil, nil
      run(cache())
    end
    gdn.on_deprecated = was
    local once = { "r.prompt r.prompt_tokens", "r.computed r.computed_tokens" }
    assert.are.same({ once[1], once[2], once[1], once[2] }, seen)
  end)
end)
