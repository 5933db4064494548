-- Lines of a text or of a file. A file is read block by block, so that a reader which stops early leaves
-- the rest of it alone, and memory holds one block.
local find, sub = string.find, string.sub

local BLOCK = 65536
local LONGEST = 2^24 -- bytes of a line

-- What the first bytes of a file say that it is, where that is not text.
local MAGIC = {
  { "\31\139", "gzip data, want text: gunzip first" },
  { "BZh%d1AY&SY", "bzip2 data, want text: bunzip2 first" },
  { "\2537zXZ%z", "xz data, want text: unxz first" },
  { "%(\181/\253", "zstd data, want text: unzstd first" },
  { "PK\3\4", "a zip archive, want text: unzip first" },
  { "PAR1", "a Parquet file, want text: convert it to CSV first" },
  { "\255\254", "UTF-16, want UTF-8: iconv -f UTF-16 -t UTF-8 first" },
  { "\254\255", "UTF-16, want UTF-8: iconv -f UTF-16 -t UTF-8 first" },
}

local Lines = {}
Lines.__index = Lines

local M = {}

--- Lines of a text, or of a file that is open; or nil and why it is no text.
---@param text string the beginning
---@param file? file* where the rest is
---@param total? integer bytes of the file
---@return table|nil lines, string? message
function M.new(text, file, total)
  for _, magic in ipairs(MAGIC) do
    if find(text, "^" .. magic[1]) then return nil, "1: " .. magic[2] end
  end
  local separator = not find(text, "\n") and find(text, "\r") and "\r" or "\n"
  local at = find(text, "^\239\187\191") and 4 or 1
  return setmetatable({ text = text, file = file, total = total, bytes = #text, number = 0, at = at,
                        separator = separator, back = {} }, Lines)
end

--- Lines of a file; the caller closes it.
---@param file file*
---@return table|nil lines, string? message, integer? code of a read that failed
function M.of(file)
  local total = file:seek "end"
  if total then file:seek "set" end -- a pipe has neither
  local text, why, code = file:read(BLOCK)
  if not text and why then return nil, why, code end
  return M.new(text or "", file, total)
end

-- The text from where the next line begins, and more of it than before; nil at the end of the file.
local function grow(self)
  if not self.file then return false end
  local block, why = self.file:read(math.max(BLOCK, #self.text))
  if not block then return false, why end
  self.text, self.at, self.bytes = sub(self.text, self.at) .. block, 1, self.bytes + #block
  return true
end

--- The next line without its newline (a CR before that stays), or nil after the last one. A line that is too
--- long ends the file: nil and a message.
---@return string|nil line, string? message
function Lines:next()
  local put_back = table.remove(self.back)
  if put_back then
    self.number = self.number + 1
    return put_back
  end
  local stop = find(self.text, self.separator, self.at)
  while not stop do
    local from = #self.text - self.at + 2
    if from > LONGEST + 1 then return nil, ("a line of more than %d bytes"):format(LONGEST) end
    local more, why = grow(self)
    if why then return nil, why end
    if not more then break end
    stop = find(self.text, self.separator, from)
  end
  local at = self.at
  if not stop and at > #self.text then return nil end
  stop = stop or #self.text + 1
  self.at, self.number = stop + 1, self.number + 1
  return sub(self.text, at, stop - 1)
end

--- Put back a line that next() gave last.
---@param line string
function Lines:push(line)
  self.back[#self.back + 1] = line
  self.number = self.number - 1
end

--- Bytes that have been read.
---@return integer
function Lines:position() return self.bytes - (#self.text - self.at + 1) end

return M
