-- The Lua blocks of a Markdown page: what stands after `-->` is what a block prints, line by line. Runs of
-- blanks count as one, so that tabs may be drawn as spaces.
local M = {}

---@param path string
---@return string
function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

---@param text string
---@return string[]
function M.of(text)
  local blocks = {}
  for code in text:gmatch "```lua\n(.-)```" do blocks[#blocks + 1] = code end
  return blocks
end

local function squeeze(line)
  return (line:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

--- What a block says it prints, and what it does print.
---@param code string
---@param name string shown in messages
---@return string[] claimed, string[] printed
function M.run(code, name)
  local claimed, printed = {}, {}
  for line in code:gmatch "%-%->([^\n]*)" do claimed[#claimed + 1] = squeeze(line) end
  local chunk = assert(loadstring(code, "=" .. name))
  setfenv(chunk, setmetatable({
    print = function(...)
      local words = {}
      for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
      for line in (table.concat(words, "\t") .. "\n"):gmatch "([^\n]*)\n" do
        printed[#printed + 1] = squeeze(line)
      end
    end,
  }, { __index = _G }))
  chunk()
  return claimed, printed
end

--- Files that a page links to and that do not exist. Links are relative to the page's folder.
---@param text string
---@param folder string "" or "docs/"
---@return string[]
function M.broken_links(text, folder)
  local broken = {}
  for target in text:gmatch "%]%(([^)#]+)[^)]*%)" do
    local file = not target:find "^%a+:" and io.open(folder .. target, "rb")
    if file then file:close() elseif not target:find "^%a+:" then broken[#broken + 1] = target end
  end
  return broken
end

return M
