-- Messages name options and their values by the words that users of Lua and Python gave: no constant of C,
-- and no number that stands for a word.
local gdn = require "gdnmeta"
local schema = require "gdnmeta.native.schema"

local WORDS = { CODE = true, FLAG = true, GRAPH = true }

local function files(command)
  local pipe, list = io.popen(command), {}
  for path in pipe:lines() do
    local file = assert(io.open(path, "rb"))
    list[path] = file:read "*a"
    file:close()
  end
  pipe:close()
  return list
end

-- String literals, those that only developers see left out.
local function texts(source)
  local list = {}
  source = source:gsub("/%*.-%*/", ""):gsub("_Static_assert%b()", ""):gsub("GDN_BOUND%b()", "")
  for text in source:gmatch '"([^"\n]*)"' do list[#list + 1] = text end
  return list
end

local function faults(text)
  if text:find "GDN_%u" and (text:find "want " or text:find " = ") then return "names a constant of C" end
  for _, option in ipairs(schema.options) do
    local at = text:match("%f[%w_]" .. option.name .. " = (%S+)")
    if at and WORDS[option.kind] and (at:find "^%%[du]" or at:find "^%d") then
      return ("says %s by a number"):format(option.name)
    end
  end
end

describe("Messages", function()
  it("have words where options have", function()
    local found, seen = {}, 0
    local all = "find src lua examples/pytorch -name '*.[ch]' -o -name '*.lua' -o -name '*.py'"
    for path, source in pairs(files(all)) do
      source = source:gsub('\\"', "'")
      for _, text in ipairs(texts(source)) do
        seen = seen + 1
        local fault = faults(text)
        if fault then found[#found + 1] = ("%s: %q %s"):format(path, text, fault) end
      end
    end
    assert.are.same({}, found)
    assert.is_true(seen > 1000)
    assert.is_truthy(faults "full_cuda_graph = %d, want %d" and faults "want GDN_GRAPH_MIXED (2)")
  end)

  it("of an option that the rules do not have say its value and what it may be", function()
    local refused = 0
    for _, option in ipairs(schema.options) do
      for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
        local given = ({ FLAG = true, CODE = "flashinfer", GRAPH = "mixed" })[option.kind] or 1
        local is_tried = option.rules ~= "EVERY" or option.kind == "GRAPH"
        local builder, message
        if is_tried then
          builder, message = gdn.builder { device = "cpu", rules = rules, [option.name] = given }
        end
        if builder then
          builder:close()
        elseif is_tried then
          local shown = type(given) == "string" and ("%q"):format(given) or tostring(given)
          assert.are.equal(1, (message:find(("%s = %s, want "):format(option.name, shown), 1, true)), message)
          refused = refused + 1
        end
      end
    end
    assert.is_true(refused > 20)
  end)
end)
