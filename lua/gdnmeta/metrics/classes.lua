-- Classes of requests as series: the first so many classes have one each, all others share "other". So no
-- client can make the page grow by inventing names.
local LONGEST = 64 -- bytes of a label

-- UTF-8 by Unicode's table 3-7, for a scraper refuses a page that is not: lead byte, continuation bytes,
-- least and most of the first of them.
local function sequence(lead)
  if lead < 0x80 then return 0 end
  if lead >= 0xC2 and lead <= 0xDF then return 1, 0x80, 0xBF end
  if lead >= 0xE0 and lead <= 0xEF then
    return 2, lead == 0xE0 and 0xA0 or 0x80, lead == 0xED and 0x9F or 0xBF
  end
  if lead >= 0xF0 and lead <= 0xF4 then
    return 3, lead == 0xF0 and 0x90 or 0x80, lead == 0xF4 and 0x8F or 0xBF
  end
end

local function is_utf8(text)
  local at = 1
  while at <= #text do
    local more, least, most = sequence(text:byte(at))
    if not more then return false end
    for k = 1, more do
      local byte = text:byte(at + k)
      local low, high = k == 1 and least or 0x80, k == 1 and most or 0xBF
      if not byte or byte < low or byte > high then return false end
    end
    at = at + 1 + more
  end
  return true
end

local OTHER = "other"

local Classes = {}
Classes.__index = Classes

--- The series of a class, a new one if there may be one.
---@param name string|number
---@param known boolean|nil only those that have one
---@return integer 0-based
function Classes:series(name, known)
  local text = type(name) == "number" and ("%.14g"):format(name) or name
  local found = self.index[text]
  if found then return found end
  if known or self.size > self.most or #text > LONGEST or not is_utf8(text) then return 0 end
  self.index[text], self.names[self.size] = self.size, text
  self.size = self.size + 1
  return self.size - 1
end

local M = { LONGEST = LONGEST, is_utf8 = is_utf8 }

---@param most integer classes with a series of their own
function M.new(most)
  return setmetatable({ most = most, size = 1, index = { [OTHER] = 0 }, names = { [0] = OTHER } }, Classes)
end

return M
