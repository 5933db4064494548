-- Runs the README's Lua; docs/api.md and docs/command-line.md name every field, method and command.
local blocks_of = require "spec.support.blocks"

local read = blocks_of.read
local README, API = read "README.md", read "docs/api.md"
local blocks = blocks_of.of(README)

describe("the README", function()
  for i, code in ipairs(blocks) do
    it("prints what it says, block " .. i, function()
      local claimed, printed = blocks_of.run(code, "README.md block " .. i)
      assert.are.same(claimed, printed)
    end)
  end

  it("opens with a program that prints something", function()
    assert.is_true(#blocks > 0, "no Lua block")
    local claimed = blocks_of.run(blocks[1], "README.md block 1")
    assert.is_true(#claimed > 0, "it claims no output")
  end)

  it("names commands that the Makefile has, demo and test among them", function()
    local targets, named = {}, {}
    for target in read("Makefile"):gmatch "\n([%w%-]+):" do targets[target] = true end
    for target in README:gmatch "[`\n]%s*make ([a-z][%w%-]*)" do
      named[target] = true
      assert.is_true(targets[target], "make " .. target .. " does not exist")
    end
    assert.is_true(named.demo and named.test)
  end)

  it("links to files that exist", function()
    assert.are.same({}, blocks_of.broken_links(README, ""))
    assert.are.same({}, blocks_of.broken_links(read "spec/README.md", "spec/"))
  end)
end)

describe("docs/command-line.md", function()
  it("has a line for every command", function()
    local text = read "docs/command-line.md"
    for _, name in ipairs(require("gdnmeta.cli").COMMANDS) do
      local summary = require("gdnmeta.cli." .. name).summary
      assert.is_truthy(text:find(("\n    gdnmeta %-10s %s\n"):format(name, summary), 1, true), name)
    end
  end)
end)

describe("docs/api.md", function()
  it("has every field of the metadata and every method", function()
    local function each(path, pattern, from, to)
      local names, text = {}, read(path)
      local _, first = text:find(from or "^", 1)
      for name in text:sub(first + 1, (text:find(to or "$", first + 1))):gmatch(pattern) do
        names[#names + 1] = name
      end
      return names
    end
    local fields = each("src/gdnmeta.h", "\n%s+[%w_]+ ([%w_]+);", "typedef struct gdn_metadata {", "\n}")
    assert.are.equal(44, #fields)
    for _, name in ipairs(fields) do
      assert.is_truthy(API:find("`" .. name .. "`", 1, true), "field " .. name)
    end
    for name, method in pairs(require("gdnmeta.native.methods").Builder) do
      if type(method) == "function" and not name:find "^__" then
        assert.is_truthy(API:find("`" .. name .. "(", 1, true), "method " .. name)
      end
    end
  end)
end)
