-- Whole texts under spec/goldens/texts. GDN_GOLDENS=write writes them anew: then read the difference.
local FOLDER = "spec/goldens/texts/"
local assert = require "luassert"

local function lines(text)
  local list = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do list[#list + 1] = line end
  return list
end

--- The text is the one of that name; the first line that is not is named.
---@param name string of a file
---@param text string
return function(name, text)
  local path = FOLDER .. name .. ".txt"
  if os.getenv "GDN_GOLDENS" == "write" then
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
  end
  local file = assert(io.open(path, "rb"))
  local wanted = file:read "*a"
  file:close()
  local is, want = lines(text), lines(wanted)
  for n = 1, math.max(#is, #want) do
    local where = ("%s, line %d"):format(path, n)
    assert.are.same({ where, want[n] }, { where, is[n] })
  end
end
