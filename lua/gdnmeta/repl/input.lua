-- Lines from a person or a pipe. A person has history and completion where the readline module is
-- installed (Debian's lua-readline), a plain prompt otherwise; a pipe has no prompt.
local libc = require "gdnmeta.native.libc"
local tab_completion = require "gdnmeta.repl.tab_completion"
local signals = require "gdnmeta.native.signals"

local STDIN = 0
local KEEP = 1000 -- lines of history

local M = {}

--- Names that begin as the word before the cursor does, whose parts are joined by dots and colons.
---@param word string such as "meta.num_p"
---@param env table where names are looked up
---@return table candidates whole words
function M.complete(word, env)
  local path, start = word:match "^(.*[.:])([%w_]*)$"
  if not path then path, start = "", word end
  local value = env
  for name in path:gmatch "([%a_][%w_]*)[.:]" do
    local ok, found = pcall(function() return value[name] end)
    if not ok or found == nil then return {} end
    value = found
  end
  local list, seen = {}, {}
  for _, name in ipairs(tab_completion(value, path:sub(-1) == ":")) do
    if name:sub(1, #start) == start and not seen[name] then
      seen[name] = true
      list[#list + 1] = path .. name
    end
  end
  table.sort(list)
  return list
end

-- The word that ends at the cursor; readline itself breaks words at other places.
local function completer(env)
  return function(text, from, to)
    local before = text:sub(1, to)
    local word = before:match "[%w_.:]*$"
    local cut = #word - (to - from + 1) -- of the word, what readline leaves in place
    local list = M.complete(word, env)
    for i, candidate in ipairs(list) do list[i] = candidate:sub(cut + 1) end
    return list
  end
end

local function with_readline(readline, env)
  local home = os.getenv "HOME"
  readline.set_readline_name "gdnmeta"
  readline.set_options { keeplines = KEEP, histfile = home and home .. "/.gdnmeta_history" or "" }
  readline.set_complete_function(completer(env))
  readline.set_completion_append_character ""
  return { interactive = true, line = readline.readline, close = readline.save_history }
end

--- What Ctrl-C does: while the prompt waits, nothing; while a statement runs, luajit's handler raises
--- "interrupted!" in it, once, after which the system's would end the process.
---@return function switch takes true where a statement begins, false where it ended
function M.interrupts()
  local handler = signals.set(signals.SIGINT, signals.IGNORE)
  return function(on) signals.set(signals.SIGINT, on and handler or signals.IGNORE) end
end

--- Where lines come from: { interactive, line(prompt) -> text or nil at the end, close() }.
---@param env table
---@return table
function M.open(env)
  if libc.libc_isatty(STDIN) ~= 1 then
    return { interactive = false, line = function() return io.read "*l" end, close = function() end }
  end
  local ok, readline = pcall(require, "readline")
  if ok then return with_readline(readline, env) end
  return {
    interactive = true, close = function() end,
    line = function(prompt)
      io.write(prompt)
      io.flush()
      return io.read "*l"
    end,
  }
end

return M
