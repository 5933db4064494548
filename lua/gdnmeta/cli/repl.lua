-- gdnmeta repl: a prompt with a sample engine.
local colors = require "gdnmeta.metadata.colors"
local terminal = require "gdnmeta.cli.terminal"

local M = {
  summary = "A Lua prompt with an engine to play with.",
  epilog = [[
examples:
  gdnmeta repl
  echo 'step(20) =meta explain(meta, "chunk_indices")' | tr ' ' '\n' | gdnmeta repl]],
}

function M.describe() end

local function say(text) io.stdout:write(text, "\n") end

function M.run()
  local repl = require "gdnmeta.repl"
  local paint = terminal.coloured() and colors.colour or colors.plain
  local function complain(message)
    io.stdout:flush()
    io.stderr:write(message, "\n")
  end
  repl.run(repl.new(paint, say, complain))
end

return M
