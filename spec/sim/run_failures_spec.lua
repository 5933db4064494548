-- What a run says of hooks that failed: the first failure, which hooks never answered, and what was switched
-- off; of a policy and of a cache side by side. Against spec/goldens/texts.
local noted = require "spec.support.noted"
local sim = require("gdnmeta").sim

local notes = noted.new "run-failures-"

local POLICY = { key = function(r) return r.arrival end, admit = function() return true end,
                 on_finish = function() end }
local CACHE = { checkpoints = function(r) return { r.prompt_end } end, keep = function() return true end,
                worth = function(_, n, values) for k = 1, n do values[k] = k end end }

local function requests()
  local list = { block_size = 16 }
  for i = 1, 9 do
    list[i] = { arrival = i * i / 40, prompt = 16 * (1 + i % 3) + 1, output = 3, session = i % 3,
                blocks = {} }
    for k = 1, 1 + i % 3 do list[i].blocks[k] = 10 * (i % 4) + k end
  end
  return list
end

-- Hooks of which those that `which` has fail at every call, or at the calls that `fails` says.
local function hooks_of(hooks, which, fails)
  local list = {}
  for name, hook in pairs(hooks) do
    local n = 0
    list[name] = which[name] and function(...)
      n = n + 1
      if not fails or fails(n) then error(name .. " at call " .. n, 0) end
      return hook(...)
    end or hook
  end
  return list
end

-- Every set of names.
local function sets(names)
  local list = {}
  for code = 0, 2 ^ #names - 1 do
    list[code + 1] = {}
    for k, name in ipairs(names) do
      list[code + 1][name] = math.floor(code / 2 ^ (k - 1)) % 2 == 1 or nil
    end
  end
  return list
end

local function run(policy, cache, more)
  local o = { requests = requests(), policy = policy, cache = cache, cache_slots = 2, trusted = true,
              preset = "constant-20ms", measure = false, num_groups = 1, max_num_seqs = 2 }
  for name, value in pairs(more or {}) do o[name] = value end
  local r = assert(sim.run(o))
  return r.failure or "no failure", r.switched_off, r.failures, r.fallbacks, r.finished,
    r.cache and (r.cache.failure or "no failure of the cache")
end

local function word(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, " ")
end

describe("Hooks that fail in a run #lua", function()
  before_each(notes.clear)

  it("are told of, whichever of a policy's fail", function()
    for _, which in ipairs(sets { "key", "admit", "on_finish" }) do
      notes.note("fail: " .. word(which), run(hooks_of(POLICY, which)))
    end
    local odd = hooks_of(POLICY, { key = true, admit = true }, function(n) return n % 2 == 1 end)
    notes.note("every other one:", run(odd))
    local late = hooks_of(POLICY, { admit = true }, function(n) return n > 3 end)
    notes.note("later ones:", run(late))
    notes.note("all of it:", run { step = function() error("no", 0) end })
    notes.check "policy"
  end)

  it("are told of, whichever of a cache's fail", function()
    for _, which in ipairs(sets { "checkpoints", "keep", "worth" }) do
      notes.note("fail: " .. word(which), run(nil, hooks_of(CACHE, which)))
    end
    local once = hooks_of(CACHE, { keep = true }, function(n) return n == 1 end)
    notes.note("once:", run(nil, once))
    local many = { block_size = 16 }
    for i = 1, 30 do many[i] = { arrival = 0, prompt = 17, output = 1, blocks = { i } } end
    local all = hooks_of(CACHE, { checkpoints = true })
    notes.note("in every step:", run(nil, all, { requests = many, max_num_seqs = 1 }))
    notes.check "cache"
  end)

  it("are told apart where a policy and a cache fail, in either order", function()
    for first = 1, 7 do
      for other = 1, 7 do
        local policy = hooks_of(POLICY, { admit = true }, function(n) return n >= first end)
        local cache = hooks_of(CACHE, { checkpoints = true }, function(n) return n >= other end)
        notes.note(("from %d, from %d:"):format(first, other), run(policy, cache))
      end
    end
    notes.check "both"
  end)
end)
