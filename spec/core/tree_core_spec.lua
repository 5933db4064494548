-- The rule of src: folders in the order of a step, includes only from before, no circle, files of 300 lines.
local blocks = require "spec.support.blocks"

local FOLDERS = { "base", "input", "partition", "strict", "fill", "verify", "bring", "device", "cuda",
                  "builder", "scheduler", "worker" }
local MOST_LINES = 300

local function lines_of(path)
  local list = {}
  for line in io.lines(path) do list[#list + 1] = line end
  return list
end

-- Paths below src, as git would see them: what make builds and nothing else.
local function sources()
  local pipe, list = io.popen "find src -name '*.[ch]' -o -name '*.cu' | sort", {}
  for path in pipe:lines() do list[#list + 1] = path:sub(5) end
  pipe:close()
  return list
end

local function place_of(path)
  local folder = path:match "^(.-)/"
  for place, name in ipairs(FOLDERS) do
    if name == folder then return place end
  end
end

-- What breaks the rule, in words. files: path -> list of lines.
local function faults(files)
  local found, above = {}, {}
  local function fault(...) found[#found + 1] = string.format(...) end
  local function visit(path, trail)
    if above[path] == "done" then return end
    if above[path] then return fault("%s: a circle, by way of %s", path, trail[#trail - 1]) end
    above[path] = "open"
    for _, line in ipairs(files[path] or {}) do
      local included = line:match '^%s*#%s*include "(.-)"'
      if included and files[included] then
        trail[#trail + 1] = included
        visit(included, trail)
        trail[#trail] = nil
      end
    end
    above[path] = "done"
  end
  for path, lines in pairs(files) do
    local public = not path:find "/"
    if not public and not place_of(path) then fault("%s: is in no folder of src/README.md", path) end
    if #lines > MOST_LINES and not public then fault("%s: %d lines, want <= %d", path, #lines, MOST_LINES) end
    for _, line in ipairs(lines) do
      local included = line:match '^%s*#%s*include "(.-)"'
      if included and not files[included] then
        fault("%s: includes %s, want a path from src", path, included)
      elseif included and included:find "/" and (place_of(included) or 0) > (place_of(path) or 0) then
        fault("%s: includes %s, which comes after it", path, included)
      end
    end
    visit(path, { path })
  end
  table.sort(found)
  return found
end

local function tree()
  local files = {}
  for _, path in ipairs(sources()) do files[path] = lines_of("src/" .. path) end
  return files
end

describe("src", function()
  it("is folders in the order of a step, and includes go back along it", function()
    local files, count = tree(), 0
    for _ in pairs(files) do count = count + 1 end
    assert.is_true(count > 70)
    assert.are.same({}, faults(files))
  end)

  it("would be found out", function()
    local function with(path, ...)
      local files = tree()
      files[path] = { ... }
      return faults(files)
    end
    assert.are.same({ "strict/strict.h: includes cuda/packed_arrays.h, which comes after it" },
      with("strict/strict.h", '#include "cuda/packed_arrays.h"'))
    local circle = with("base/status.h", '#include "base/config.h"')
    assert.are.equal(1, #circle)
    assert.matches("^base/[a-z]+.h: a circle, by way of base/[a-z]+.h$", circle[1])
    assert.are.same({ "base/one.h: includes status.h, want a path from src" },
      with("base/one.h", '#include "status.h"'))
    assert.are.same({ "attic/one.h: is in no folder of src/README.md" }, with("attic/one.h", ""))
    local long = {}
    for i = 1, MOST_LINES + 1 do long[i] = "" end
    assert.are.same({ "base/one.c: 301 lines, want <= 300" }, with("base/one.c", unpack(long)))
  end)

  it("says in its README which folders there are, in their order", function()
    local listed = {}
    for _, line in ipairs(lines_of "src/README.md") do listed[#listed + 1] = line:match "^| `([%w_]+)/` |" end
    assert.are.same(FOLDERS, listed)
    local pipe = io.popen "find src -mindepth 1 -type d | sort"
    local there = {}
    for path in pipe:lines() do there[#there + 1] = path:sub(5) end
    pipe:close()
    table.sort(listed)
    assert.are.same(listed, there)
    assert.are.same({}, blocks.broken_links(blocks.read "src/README.md", "src/"))
  end)
end)
