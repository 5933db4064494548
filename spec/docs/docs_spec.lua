-- Runs the Lua of the guides, and compares their lists of options, fields and hooks with the code.
local blocks = require "spec.support.blocks"

local PAGES = { "api", "cache", "engine", "states", "policy", "kernels", "from-vllm", "untrusted-input",
                "workloads", "worker" }

for _, page in ipairs(PAGES) do
  local path = ("docs/%s.md"):format(page)
  local text = blocks.read(path)

  describe(path, function()
    for i, code in ipairs(blocks.of(text)) do
      it("prints what it says, block " .. i, function()
        local claimed, printed = blocks.run(code, ("%s block %d"):format(path, i))
        assert.is_true(#claimed > 0, "it claims no output")
        assert.are.same(claimed, printed)
      end)
    end

    it("looks at what its calls return", function() -- nil and a message, where a batch is full
      for n, code in ipairs(blocks.of(text)) do
        for line in code:gmatch "[^\n]+" do
          local method = line:match "^%s*batch:(%a+)"
          local is_looked_at = method == nil or method == "clear" or method == "close"
          assert.is_true(is_looked_at, ("block %d: %s"):format(n, line))
        end
      end
    end)

    it("has Lua that is run", function() assert.is_true(#blocks.of(text) > 0) end)

    it("links to files that exist", function()
      assert.are.same({}, blocks.broken_links(text, "docs/"))
    end)
  end)
end

-- Fields of a struct of the header, in order.
local function fields(struct)
  local header, names = blocks.read "src/gdnmeta.h", {}
  local body = header:match("typedef struct " .. struct .. " {(.-)\n}")
  for name in body:gmatch "\n%s+[%w_]+ ([%w_]+);" do names[#names + 1] = name end
  return names
end

describe("Pages without Lua", function()
  for _, page in ipairs { "command-line", "faults", "glossary", "speed" } do
    local path = ("docs/%s.md"):format(page)
    it("link to files that exist: " .. path, function()
      assert.are.same({}, blocks.broken_links(blocks.read(path), "docs/"))
    end)
  end
end)

describe("docs/glossary.md", function()
  it("explains a word once", function()
    local text, seen = blocks.read "docs/glossary.md", {}
    for words in text:gmatch "\n| ([^|]+) | [^|\n]+ |" do
      for word in words:gmatch "[^,]+" do
        word = word:match "^%s*(.-)%s*$"
        assert.is_nil(word:find "^%-" == nil and word ~= "word" and seen[word] or nil, word)
        seen[word] = true
      end
    end
    assert.is_true(seen.slot and seen.chunk)
  end)
end)

describe("The guides", function()
  it("explain every field of the metadata, for kernels and for those who come from vLLM", function()
    for _, page in ipairs { "kernels", "from-vllm" } do
      local text = blocks.read(("docs/%s.md"):format(page))
      for _, name in ipairs(fields "gdn_metadata") do
        assert.is_truthy(text:find("`" .. name .. "`", 1, true), ("%s: %s"):format(page, name))
      end
    end
  end)

  it("name every option of an engine and every field of a request", function()
    local text = blocks.read "docs/engine.md"
    local function each(path, from)
      local seen = 0
      for name in blocks.read(path):match("local " .. from .. " = {(.-)\n}"):gmatch "\n  ([%w_]+) =" do
        assert.is_truthy(text:find("`" .. name .. "`", 1, true), name)
        seen = seen + 1
      end
      return seen
    end
    assert.are.equal(27, each("lua/gdnmeta/engine/options.lua", "DOMAINS"))
    assert.are.equal(19, each("lua/gdnmeta/engine/submit.lua", "FIELDS"))
    local source = blocks.read "lua/gdnmeta/engine/options.lua"
    for name in source:match "local OTHERS = {(.-)}":gmatch "([%w_]+) =" do
      assert.is_truthy(text:find("`" .. name .. "`", 1, true), name)
    end
  end)

  it("say where each invariant is proven and broken, and it is named there", function()
    local text, paths, seen = blocks.read "docs/invariants.md", {}, 0
    for name, path in text:gmatch "\n%[(%w+)%]: %.%./(%S+)" do paths[name] = path end
    for number, proven, broken in text:gmatch "\n| (I%d+) | [^|]+ | ([^|]+) | ([^|]+) |" do
      seen = seen + 1
      assert.are.equal("I" .. seen, number)
      for _, column in ipairs { proven, broken } do
        assert.is_truthy(column:find "%[", number)
        for name in column:gmatch "%[(%w+)%]" do
          local path = assert(paths[name], name)
          assert.is_truthy(blocks.read(path):find(number .. "%f[%D]"), ("%s in %s"):format(number, path))
        end
      end
    end
    assert.are.equal(30, seen)
    for number, rule in pairs(require "gdnmeta.engine.decide.rules") do
      local row = ("\n| %s | *%s*: "):format(number, rule:match "^%w+, (.+): $")
      assert.is_truthy(text:find(row, 1, true), rule)
    end
  end)

  it("name every hook and field of a policy", function()
    local text = blocks.read "docs/policy.md"
    local source = blocks.read "lua/gdnmeta/policy.lua"
    for hook in source:match "HOOKS = {(.-)}":gmatch '"([%w_]+)"' do
      if hook ~= "step" then assert.is_truthy(text:find(hook .. "(r", 1, true), hook) end
    end
    for field in source:match "local FIELDS = {(.-)\n}":gmatch "\n  ([%w_]+) =" do
      assert.is_truthy(text:find("`" .. field, 1, true) or text:find(field .. " =", 1, true), field)
    end
    local view = blocks.read "lua/gdnmeta/engine/hooks/view.lua"
    for field in view:gmatch "function fields%.([%w_]+)%(" do
      assert.is_truthy(text:find("`" .. field .. "`", 1, true), field)
    end
  end)
end)
