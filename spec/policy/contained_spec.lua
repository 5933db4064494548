-- The table of docs/policy.md on what of a policy is contained, cell by cell. What is not contained is shown
-- by something that ends, after more than the policy's budget.
local gdn = require "gdnmeta"
local new_path = require "spec.support.new_path"
local serve = require "spec.support.run_engine"

local KINDS = { "file", "table", "function", "trusted" }
local BUDGET = 10000
local HUGE, MANY = "1e18", "1e6" -- rounds of a loop that must be stopped, and of one that need not

-- Row -> the hook's code; N stands for the rounds of a loop or, negated, a place in a list. `before` stands
-- outside the hook.
local LOOP = "local function loop() local n = N while n > 0 do n = n - 1 end end "
local CASES = {
  ["an error of any kind"] = "error {}",
  ["a yield"] = "coroutine.yield()",
  ["a call that changes its engine"] = "CONTAINED.engine:step(9)",
  ["a loop without an end"] = LOOP .. "loop()",
  ["such a loop in `pcall`, `xpcall` or a coroutine"] =
    LOOP .. "xpcall(loop, loop) xpcall(error, loop) pcall(loop) coroutine.wrap(loop)()",
  ["such a loop in a helper in another file, called by name"] = "CONTAINED.spin(N)",
  ["such a loop in a helper whose name is computed, or in loaded code"] =
    "local at = 'CONTAIN' _G[at .. 'ED']['sp' .. 'in'](N) "
    .. "loadstring 'local n = ... while n > 0 do n = n - 1 end' (N)",
  ["such a loop in a finalizer"] =
    LOOP .. "local p = newproxy(true) getmetatable(p).__gc = loop p = nil collectgarbage()",
  ["too much in one call of `string` or `table`"] = "table.insert({}, -N / 10, 1)",
  ["the same through a function kept in a local"] = { "insert({}, -N / 10, 1)",
                                                              before = "local insert = table.insert " },
  ["memory, such as long strings by `..`"] = "local s = 'x' for _ = 1, 22 do s = s .. s end",
  ["`debug`, `ffi`, files, the clock"] = "assert(debug.getinfo(1)) assert(require 'ffi') assert(os.time())",
}

local function rows()
  local list, inside = {}, false
  for line in io.lines "docs/policy.md" do
    if line:find("^| what a policy does |") then inside = true
    elseif not line:find "^|" then inside = false
    elseif inside and not line:find "^|%-" then
      local what, rest = line:match "^| (.-) |(.*)$"
      local cells = {}
      for cell in rest:gmatch "([^|]+)|" do cells[#cells + 1] = cell:match "^%s*(.-)%s*$" end
      list[#list + 1] = { what, cells }
    end
  end
  return list
end

-- A helper in a file of its own, compiled by what the host did with it.
local function helper()
  local spin = assert(loadstring("return function(n) while n > 0 do n = n - 1 end end", "@helper.lua"))()
  for _ = 1, 300 do spin(100) end
  return spin
end

local function policy_of(kind, case, n)
  local code = type(case) == "table" and case[1] or case
  local before = type(case) == "table" and case.before or ""
  code = code:gsub("%f[%w]N%f[%W]", n)
  if kind == "function" then
    return assert(loadstring(before .. "return function(_, plan) " .. code .. " plan:fill() end", "@mine"))()
  end
  local source = before .. "return { name = 'mine', admit = function() " .. code .. " return true end }"
  if kind ~= "file" then
    return gdn.policy(assert(loadstring(source, "@mine"))(), { trusted = kind == "trusted" })
  end
  local path = new_path ".lua"
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  local policy = assert(gdn.policy(path))
  os.remove(path)
  return policy
end

-- The failure of one step under such a policy, or nil.
local function failure(kind, case, n)
  rawset(_G, "CONTAINED", { spin = helper() })
  local engine = serve.engine(policy_of(kind, case, n), { policy_budget = BUDGET })
  _G.CONTAINED.engine = engine
  assert(engine:submit(serve.request(1)))
  local host = coroutine.wrap(function() return assert(engine:step(0)) end)
  assert.are.equal(1, host().num_rows)
  assert.is_nil((debug.gethook()))
  rawset(_G, "CONTAINED", nil)
  local found = engine:failures()[1]
  engine:close()
  return found and found.message
end

describe("A policy", function()
  local all = rows()

  it("is contained as the table says, and the table says all", function()
    local known = {}
    for _, row in ipairs(all) do
      known[row[1]] = true
      assert.is_not_nil(CASES[row[1]], row[1])
      assert.are.equal(#KINDS, #row[2])
    end
    for what in pairs(CASES) do assert.is_true(known[what], what) end
  end)

  for _, row in ipairs(all) do
    for n, kind in ipairs(KINDS) do
      local cell = row[2][n]
      it(("that is a %s and does %s: %s"):format(kind, row[1], cell), function()
        local message = failure(kind, CASES[row[1]], cell == "not" and MANY or HUGE)
        if cell == "not" then
          assert.is_nil(message)
        else
          assert.is_not_nil(message)
          local spent = message:find("instruction budget spent", 1, true) ~= nil
          assert.are.equal(cell, spent and "interrupted" or "refused", message)
        end
      end)
    end
  end
end)

describe("Many calls that copy a long string", function()
  for _, name in ipairs { "lower", "upper", "reverse", "sub" } do
    it("spend the budget of a hook, by string." .. name, function()
      local original = string[name]
      local engine = serve.engine { admit = function()
        local long = ("x"):rep(1e6)
        for n = 1, 1000 do
          if #long[name](long, 1) ~= 1e6 or n == 1000 then error "not stopped" end
        end
      end }
      assert(engine:submit(serve.request(1)))
      assert(engine:step(0))
      assert.matches("instruction budget spent", engine:failures()[1].message, 1, true)
      assert.are.equal(original, string[name])
    end)
  end
end)
