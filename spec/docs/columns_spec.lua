-- Columns that tables of state caches have are explained where those tables are.
local serve = require "spec.support.run_engine"
local program = require("spec.support.program").new()

-- Names in the first column of the table below `heading`.
local function explained(path, heading)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  local at = assert(select(2, text:find(heading, 1, true)), heading)
  local names = {}
  for line in text:sub(at + 1):gmatch "[^\n]*\n?" do
    if names[1] and line:sub(1, 1) ~= "|" then break end
    if line:sub(1, 3) == "| `" then
      for name in line:match "^| (.-) |":gmatch "`(.-)`" do names[#names + 1] = name end
    end
  end
  table.sort(names, function(a, b) return #a > #b end) -- `hit %` before `hit`
  return names
end

-- What is left of a head line when those that are explained are taken out.
local function left_of(head, names)
  for _, name in ipairs(names) do
    local from, to = head:find(name, 1, true)
    assert.is_truthy(from, name .. " is explained, and is no column of: " .. head)
    head = head:sub(1, from - 1) .. "|" .. head:sub(to + 1)
  end
  return (head:gsub("[ |]", ""))
end

describe("Columns are explained", function()
  teardown(program.close)

  it("of gdnmeta simulate --slots-only", function()
    local out = program.run "simulate --slots-only --cache gdsf --workload agents,sessions=2 --cache-slots 4"
    local head = assert(out:match "\n(cache[^\n]*)\n", out)
    assert.are.equal("", left_of(head, explained("docs/cache.md", "| column of `--slots-only` | |")))
  end)

  it("of the tree of a state cache", function()
    local e = serve.caching_engine()
    assert(e:submit(serve.request(1, { prompt_tokens = 9, max_tokens = 1, blocks = { 1, 2 } })))
    serve.run(e)
    local head = assert(tostring(e.cache):match "\n( +tokens[^\n]*)\n")
    e:close()
    assert.are.equal("", left_of(head, explained("docs/states.md", "### What a cache holds")))
  end)
end)
