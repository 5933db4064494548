-- The table of options in docs/api.md says what the core's own table does, and what Lua then takes.
local blocks = require "spec.support.blocks"
local options = require "gdnmeta.builder.options"
local schema = require "gdnmeta.native.schema"

-- Defaults that follow from other options: what the page says of them is prose.
local FOLLOWS = { num_speculative_blocks = true }
local DEVICES = { "auto", "cpu", "cuda", "cuda:N" }

-- Rows of the table: { option, range, default }, as they stand there.
local function rows_of(page)
  local rows = {}
  local text = page:match "\n| option | range | default | |\n|[-|]+|\n(.-)\n\n"
  for line in (text or ""):gmatch "[^\n]+" do
    local name, range, default, meaning = line:match "^| `([%w_]+)` | (.-) | (.-) | (.-) |$"
    assert(name and meaning ~= "", "no row of four cells: " .. line)
    rows[#rows + 1] = { name, range, default }
  end
  return rows
end

local function number(n)
  if n >= 2 ^ 31 - 2 then return ("2^31 - %d"):format(2 ^ 31 - n) end
  return ("%d"):format(n)
end

local function quoted(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = ('`"%s"`'):format(name) end
  return list
end

-- Range and default of an option as the page has them; default nil: prose, and no value.
local function cells_of(option)
  local name, kind = option.name, option.kind
  if kind == "FLAG" then return "true, false", tostring(option.default == 1) end
  if kind == "GRAPH" then return 'true, false, `"mixed"`', "false" end
  if kind == "DEVICE" then return table.concat(quoted(DEVICES), ", "), quoted(DEVICES)[1] end
  if kind == "CODE" then
    local names = quoted(options.NAMES[name])
    return table.concat(names, ", "), names[option.default + 1]
  end
  local low = kind == "OR_NONE" and 1 or option.low
  local has_default = option.default >= low and not FOLLOWS[name]
  return number(low) .. " .. " .. number(option.high), has_default and number(option.default) or nil
end

describe("The table of options in docs/api.md", function()
  local rows = {}
  for _, row in ipairs(rows_of(blocks.read "docs/api.md")) do rows[row[1]] = row end

  it("has every option that the core and Lua have, and no other", function()
    local known = { num_slots = true }
    for _, option in ipairs(schema.options) do known[option.name] = true end
    assert.are.equal(29, #schema.options)
    for name in pairs(rows) do assert.is_true(known[name], name) end
    for name in pairs(known) do assert.is_truthy(rows[name], name) end
  end)

  it("has the ranges and the defaults of config_fields.h", function()
    for _, option in ipairs(schema.options) do
      local _, range, default = unpack(rows[option.name])
      local want_range, want_default = cells_of(option)
      assert.are.equal(want_range, range, option.name)
      if want_default then
        assert.are.equal(want_default, default, option.name)
      else
        assert.is_nil(default:match "^%-?%d+$" or default:match '^`"', option.name)
      end
    end
  end)

  it("has the ranges that Lua names where it refuses a value", function()
    for _, option in ipairs(schema.options) do
      local range = rows[option.name][2]
      local _, message = options.parse { [option.name] = {} }
      local wanted = message:match("^" .. option.name .. " = a table, want (.*)$")
      local low, high = range:match "^(%S+) %.%. (.*)$"
      if low then
        high = high:gsub("^2^31 %- (%d)$", function(n) return ("%d"):format(2 ^ 31 - n) end)
        assert.are.equal(("an integer in %s .. %s"):format(low, high), wanted)
      else
        assert.are.equal((range:gsub("`", ""):gsub(", ([^,]*)$", " or %1")), wanted)
      end
    end
  end)

  it("has the defaults that Lua gives where nothing is said", function()
    local config = assert(options.parse {})
    for _, option in ipairs(schema.options) do
      if option.kind == "DEVICE" then
        assert.are.equal(-2, config.device)
      elseif select(2, cells_of(option)) then
        assert.are.equal(option.default, config[option.name], option.name)
      elseif not FOLLOWS[option.name] then
        assert.is_nil(config[option.name], option.name)
      end
    end
  end)
end)
