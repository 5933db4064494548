-- Tables whose keys come and go are laid out anew now and then, not for each key, however many stay.
local drawer = require "spec.support.drawer"
local layouts = require "spec.support.table_layouts"
local places = require "gdnmeta.engine.places"
local serve = require "spec.support.run_engine"

local STAY = 1024 -- a power of two: a table of so many keys has no place left

-- Keys of which so many stay; each change lets the oldest go before a new one comes.
local function changing(stay, key_of)
  local owner = { keys = {}, places = places.new() }
  local function add(k)
    owner.keys = owner.places:for_one_more(owner.keys)
    owner.keys[key_of(k)] = k
  end
  for k = 1, stay do add(k) end
  return owner, function(k)
    owner.keys[key_of(k)] = nil
    add(stay + k)
  end
end

local function of_text(k) return "key " .. k end
local function of_number(k) return 7 * k end

describe("A table with places to spare", function()
  it("is laid out anew at most once for each third of its keys that comes", function()
    for _, key_of in ipairs { of_text, of_number } do
      for _, stay in ipairs { 65, 100, 128, 129, 1000, 1023, STAY, STAY + 1 } do
        local owner, change = changing(stay, key_of)
        local n = layouts.count(4 * stay, function() return owner.keys end, change)
        assert(n <= 12 and (n > 0 or stay < 100), ("%d layouts, %d keys stay"):format(n, stay))
      end
    end
  end)

  it("has the keys that were put there, and no others", function()
    local random, key_of = drawer(1), of_text
    local owner, want, some = { keys = {}, places = places.new() }, {}, 0
    for _ = 1, 20000 do
      local key = key_of(random(700))
      if want[key] then
        want[key], owner.keys[key], some = nil, nil, some - 1
      else
        owner.keys = owner.places:for_one_more(owner.keys)
        want[key], owner.keys[key], some = some, some, some + 1
      end
    end
    assert.are.same(want, owner.keys)
    assert.is_true(some > 200)
  end)

  it("becomes small again where few keys stay", function()
    local owner, change = changing(4 * STAY, of_text)
    local large = owner.keys
    for k = 1, 4 * STAY - 70 do large[of_text(k)] = nil end
    for k = 4 * STAY - 69, 8 * STAY do change(k) end
    assert.are_not.equal(large, owner.keys)
  end)
end)

describe("An engine whose queue has as many requests as a table has places", function()
  local function churn(kind)
    local e = serve.caching_engine()
    local function submit(k)
      local tokens = { 1, 2, 3, 4, 5, 6, 7, 8, 9, k }
      assert(e:submit(serve.request("r" .. k, { tokens = tokens, [kind] = kind .. k })))
    end
    for k = 1, STAY do submit(k) end
    return e.private, function(k)
      assert(e:cancel("r" .. k))
      submit(STAY + k)
    end
  end

  local function of_ids(p) return p.requests.index end
  local function of_users(p) return p.users.number end
  local function of_sessions(p) return p.prefix.sessions end

  for name, case in pairs { ids = { "user", of_ids }, users = { "user", of_users },
                            sessions = { "session", of_sessions } } do
    it("lays out the table of its " .. name .. " now and then", function()
      local p, change = churn(case[1])
      local n = layouts.count(2 * STAY, function() return case[2](p) end, change)
      assert(n >= 1 and n <= 6, ("%d layouts"):format(n))
      local keys = 0
      for _ in pairs(case[2](p)) do keys = keys + 1 end
      assert.are.equal(STAY, keys)
    end)
  end
end)
