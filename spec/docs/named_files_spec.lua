-- Files that comments name are there: a comment outlives the name of what it points to.
local function lines_of(command)
  local list, pipe = {}, io.popen(command)
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local FOLDERS = "lua src spec bench examples fuzz scripts -type f"
-- Names that stand for any file of a user's, or for each of several.
local ANY = { ["mine.lua"] = true, ["self.h"] = true }

-- By name, and the paths of each: gdnmeta.h -> { "src/gdnmeta.h" }.
local function tree()
  local by_name = {}
  for _, path in ipairs(lines_of("find . -path ./build -prune -o -path ./.git -prune -o -type f -print")) do
    local name = path:match "[^/]+$"
    by_name[name] = by_name[name] or {}
    table.insert(by_name[name], path)
  end
  return by_name
end

local function is_there(by_name, named)
  for _, path in ipairs(by_name[named:match "[^/]+$"] or {}) do
    if path:sub(-#named - 1) == "/" .. named then return true end
  end
  return false
end

-- A comment's text, where the whole line is one.
local function comment(path, line)
  if path:find "%.lua$" then return line:match "^%s*(%-%-.*)$" end
  return line:match "^%s*(/?%*.*)$" or line:match "^%s*(//.*)$"
end

describe("Comments #lua", function()
  it("name files that are there", function()
    local by_name, found, wrong = tree(), 0, {}
    assert.is_true(is_there(by_name, "gdnmeta.h") and is_there(by_name, "src/gdnmeta.h"))
    assert.is_false(is_there(by_name, "nowhere.lua") or is_there(by_name, "lua/gdnmeta.h"))
    local sources = "find " .. FOLDERS .. " '(' -name '*.lua' -o -name '*.[ch]' -o -name '*.cu' ')'"
    for _, path in ipairs(lines_of(sources)) do
      local n = 0
      for line in io.lines(path) do
        n = n + 1
        for named in (comment(path, line) or ""):gmatch "%f[%w_./-]([%w_][%w_./-]*%.%a+)%f[^%w_]" do
          if named:find "%.lua$" or named:find "%.[ch]$" or named:find "%.cu$" then
            found = found + 1
            if not ANY[named] and not is_there(by_name, named) then
              wrong[#wrong + 1] = ("%s:%d: %s"):format(path, n, named)
            end
          end
        end
      end
    end
    assert.are.same({}, wrong)
    assert.is_true(found > 200, found .. " names")
  end)
end)
