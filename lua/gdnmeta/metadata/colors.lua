-- Colours of drawings. A paint is a function of what a text is and the text; the marks of the classes of rows
-- are kinds: d decode, s speculative decode, p prefill, . padding.
local CODES = { d = "32", s = "36", p = "33", ["."] = "90", head = "1", faint = "90", wrong = "31" }

local M = {}

---@return string
function M.plain(_, text) return text end

--- For terminals.
---@return string
function M.colour(kind, text)
  if text == "" then return text end
  return ("\27[%sm%s\27[0m"):format(CODES[kind] or "0", text)
end

return M
