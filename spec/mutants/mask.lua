-- Source text with everything that is no code blanked out, character by character: comments, strings, and
-- in C the lines of the preprocessor and those that nvcc alone reads, which no spec of `make test` can run.
-- What is found in the mask stands at the same place in the text.

local function blank(text) return (text:gsub("[^\n]", " ")) end

-- Where the token ends that begins at `at`, if it is one to blank.
local C = {
  { "^/%*", function(text, at) return select(2, text:find("*/", at + 2, true)) end },
  { "^//", function(text, at) return text:find("\n", at, true) - 1 end },
  { '^"', function(text, at) return select(2, text:find('^"[^"\\\n]*"', at)) or select(2, text:find(
    '^"(.-[^\\])"', at)) end },
  { "^'", function(text, at) return select(2, text:find("^'\\?.'", at)) end },
}

local function long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  return level and select(2, text:find("]" .. level .. "]", at, true))
end

local LUA = {
  { "^%-%-%[=*%[", function(text, at) return long_bracket(text, at + 2) end },
  { "^%-%-", function(text, at) return (text:find("\n", at, true) or #text + 1) - 1 end },
  { "^%[=*%[", long_bracket },
  { '^"', C[3][2] },
  { "^'", function(text, at) return select(2, text:find("^'[^'\n]*'", at)) end },
}

local function mask(text, tokens)
  local out, at, kept = {}, 1, 1
  while at <= #text do
    local stop
    for _, token in ipairs(tokens) do
      if text:find(token[1], at) then
        stop = token[2](text, at)
        if stop then break end
      end
    end
    if stop then
      out[#out + 1] = text:sub(kept, at - 1)
      out[#out + 1] = blank(text:sub(at, stop))
      at, kept = stop + 1, stop + 1
    else
      at = at + 1
    end
  end
  out[#out + 1] = text:sub(kept)
  return table.concat(out)
end

---@param text string
---@param language string "c" or "lua"
---@return string masked as long as the text
return function(text, language)
  local masked = mask(text, language == "c" and C or LUA)
  if language == "lua" then return masked end
  masked = masked:gsub("\n#ifdef __CUDACC__\n(.-)\n#e", function(lines)
    return "\n#ifdef __CUDACC__\n" .. blank(lines) .. "\n#e"
  end)
  masked = masked:gsub("\n(#[^\n]*)", function(line) return "\n" .. blank(line) end)
  return (masked:gsub("^#[^\n]*", blank))
end
