-- The table of options in docs/engine.md says what the engine's own tables do.
local blocks = require "spec.support.blocks"
local options = require "gdnmeta.engine.options"

-- Of these the table says in prose what is taken: they are no numbers, flags or words.
local PROSE = { policy = true, capture_sizes = true, mixed_capture_sizes = true, second_builder = true,
                accepted = true, cost = true, cache = true }

-- Rows of the table by option: { range, default }, as they stand there.
local function rows_of(page)
  local rows = {}
  local text = assert(page:match "\n| option | range | default | |\n|[-|]+|\n(.-)\n\n", "no table of options")
  for line in text:gmatch "[^\n]+" do
    local names, range, default, meaning = line:match "^| (.-) | (.-) | (.-) | (.-) |$"
    assert(names and meaning ~= "", "no row of four cells: " .. line)
    for name in names:gmatch "`([%w_]+)`" do rows[name] = { range, default } end
  end
  return rows
end

local function number(n)
  if n == 2 ^ 31 - 1 then return "2^31 - 1" end
  if n == 2 ^ 30 then return "2^30" end
  return n == 1e12 and "10^12" or ("%.15g"):format(n)
end

-- The words of a refusal as the page has them.
local function range_of(wanted)
  local low, high = wanted:match "^an? %a+ in (%S+) %.%. (%S+)$"
  if high == "inf" then return low .. " or more" end
  if low then return number(tonumber(low)) .. " .. " .. number(tonumber(high)) end
  return (wanted:gsub("true or false", "true, false"):gsub('("%a+") or ("%a+")', "`%1`, `%2`"))
end

describe("The table of options in docs/engine.md", function()
  local rows = rows_of(blocks.read "docs/engine.md")

  it("has every option that the engine takes, and no other", function()
    for name in pairs(options.DOMAINS) do assert.is_truthy(rows[name], name .. " is missing") end
    for name in pairs(rows) do
      assert.is_true(PROSE[name] or options.DOMAINS[name] ~= nil, name .. " is no option")
    end
    for name in pairs(PROSE) do assert.is_truthy(rows[name], name .. " is missing") end
  end)

  it("has the ranges that a refusal names", function()
    for name, domain in pairs(options.DOMAINS) do
      if not PROSE[name] then
        assert.are.equal(range_of((select(2, domain({})))), rows[name][1], name)
      end
    end
  end)

  it("has the defaults that the engine takes, and no number or word where it takes none", function()
    for name, row in pairs(rows) do
      local default = options.DEFAULTS[name]
      if type(default) == "string" then
        assert.are.equal(('`"%s"`'):format(default), row[2], name)
      elseif default == math.huge then
        assert.are.equal("none", row[2], name)
      elseif default ~= nil then
        local text = type(default) == "number" and ("%.15g"):format(default) or tostring(default)
        assert.are.equal(text, row[2], name)
      else
        assert.is_nil(row[2]:match '^%-?%d+$' or row[2]:match '^`"' or row[2]:match "^true", name)
      end
    end
  end)
end)
