-- docs/faults.md, the specs of spec/regressions and the faults of spec/mutants name the same faults.
local blocks = require "spec.support.blocks"
local shell = require "spec.support.shell"

local PAGE = blocks.read "docs/faults.md"
local FOLDER = "spec/regressions/"

-- fault -> the file whose spec has that name, and what it says of the reports.
local function of_specs()
  local files, reports = {}, {}
  for file in shell.output("ls " .. FOLDER):gmatch "[^\n]+" do
    for name, said in blocks.read(FOLDER .. file):gmatch 'it%("(B%d+) %((.-)%)[:"]' do
      assert.is_nil(files[name], name .. " has two specs")
      files[name], reports[name] = file, said
    end
  end
  return files, reports
end

-- fault -> the file that its section links to, and its columns.
local function of_page()
  local files, columns, file = {}, {}, nil
  for line in PAGE:gmatch "[^\n]+" do
    if line:find "^## " then file = nil end
    file = file or line:match "^%[[%w_.]+%]%(%.%./spec/regressions/([%w_.]+)%)$"
    local name, reported, wrong, does = line:match "^| (B%d+) | ([^|]+) | ([^|]+) | ([^|]+) |$"
    if name then
      assert.is_nil(files[name], name .. " stands twice")
      files[name], columns[name] = file or "no section", { reported, wrong, does }
    end
  end
  return files, columns
end

describe("docs/faults.md", function()
  local specs, reports = of_specs()
  local page, columns = of_page()

  it("has every fault of spec/regressions in the section of its spec, and no other", function()
    assert.are.same(specs, page)
    local n = 0
    for name in pairs(page) do
      n = n + 1
      assert.is_true(tonumber(name:sub(2)) <= 32, name)
    end
    assert.are.equal(32, n)
    local _, mentioned = PAGE:gsub("| B%d+ |", "")
    assert.are.equal(32, mentioned)
  end)

  it("names the reports that the spec names", function()
    for name, said in pairs(reports) do
      for number in said:gmatch "#%d+" do
        assert.is_truthy(columns[name][1]:find(number .. "%f[%D]"), name .. ": " .. number)
      end
      for number in columns[name][1]:gmatch "#%d+" do
        assert.is_truthy(said:find(number .. "%f[%D]"), name .. ": " .. number)
      end
    end
  end)

  it("has a fault on purpose for each", function()
    local there = {}
    for _, fault in ipairs(require "spec.mutants.faults") do there[fault[1]] = true end
    for name in pairs(page) do assert.is_true(there[name], name) end
    for name in pairs(there) do assert.is_truthy(page[name], name) end
  end)

  it("links to files that exist", function()
    assert.are.same({}, blocks.broken_links(PAGE, "docs/"))
  end)
end)
