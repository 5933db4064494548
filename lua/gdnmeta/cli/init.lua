-- The command line: `gdnmeta <command> ...`. A command is a module of gdnmeta/cli/ with `describe`,
-- which declares its options, and `run`, which gets them; run returns an exit status or nothing.
local values = require "gdnmeta.cli.values"
local foreign_text = require "gdnmeta.native.foreign_text"

local M = {}

M.COMMANDS = { "simulate", "sweep", "merge", "inspect", "replay", "repl", "doctor" }

local SETS_OPTIONS = { simulate = true, sweep = true } -- of sim.run, by flags

local EXAMPLES = [[
examples:
  gdnmeta simulate                                  the default workload under fcfs
  gdnmeta simulate --policy fcfs --policy decode_first --report out.html
  gdnmeta simulate --trace azure2023_conv.csv --policy mine.lua --rate 6
  gdnmeta sweep --policy fcfs --policy mine.lua --rates 2:12:2 --jobs 4 --report sweep.html
  gdnmeta sweep --policy fcfs --rates 2:12:2 --print-jobs | parallel
  gdnmeta merge cell-*.json --report sweep.html
  gdnmeta inspect steps.jsonl --step 12
  gdnmeta replay steps.jsonl --device cuda
  gdnmeta repl
  gdnmeta doctor]]

local function parser_of(argparse)
  local parser = argparse("gdnmeta", "Policies for LLM servers, tried out in simulated time.", EXAMPLES)
  parser:flag("--version", "Print the version.")
  parser:command_target "command"
  for _, name in ipairs(M.COMMANDS) do
    local command = require("gdnmeta.cli." .. name)
    local sub = parser:command(name, command.summary):epilog(command.epilog)
    command.describe(sub)
    sub:flag("--debug", "Show where an error came from.")
    for _, option in ipairs(sub._options) do option:overwrite(false) end -- given twice is a mistake
  end
  return parser
end

-- A message as people read it: without a place in the source, when it is one of ours.
local function plain(err, command)
  if type(err) == "table" and err.message then return err.message end
  local message = tostring(err):gsub("^[^:\n]*%.lua:%d+: ", "")
  if not SETS_OPTIONS[command] then return message end
  local ok, refusals = pcall(require, "gdnmeta.cli.refusals") -- it may be the library that is missing
  return ok and refusals.raised(message) or message
end

local function contains(list, wanted)
  for _, item in ipairs(list) do
    if item == wanted then return true end
  end
  return false
end

-- What looks like a number is no option: `--kv-tokens -1` is refused for its value.
local function with_values(argv)
  local list = {}
  for _, word in ipairs(argv) do
    local before = list[#list] or ""
    if before:find "^%-%-[%a-]+$" and (word:find "^%-[%d.]" or word == "-inf" or word == "-nan") then
      list[#list] = before .. "=" .. word
    else
      list[#list + 1] = word
    end
  end
  return list
end

local function parse(argv)
  local ok, argparse = pcall(require, "argparse")
  if not ok then
    values.fail "the Lua module argparse is missing: `luarocks install argparse`"
  end
  local parsed, args = parser_of(argparse):pparse(with_values(argv))
  if parsed then return args end
  local command = contains(M.COMMANDS, argv[1]) and argv[1] .. " " or ""
  values.fail("%s; see gdnmeta %s--help", args, command)
end

--- Run a command.
---@param argv table arguments, and the program's name at 0
---@return integer status 0: done, 1: the answer is no, 2: could not
function M.main(argv)
  local traceback
  local ok, status = xpcall(function()
    if argv[1] == "--version" and #argv == 1 then
      print("gdnmeta " .. require "gdnmeta.native.version")
      return
    end
    -- doctor helps also where argparse is what is missing.
    local args = argv[1] == "doctor" and #argv == 1 and { command = "doctor" } or parse(argv)
    if args.version then
      print("gdnmeta " .. require "gdnmeta.native.version")
      return
    end
    args.program, args.argv = argv[0], argv
    if args.command ~= "repl" then require("gdnmeta.native.signals").plain() end
    local answer = require("gdnmeta.cli." .. args.command).run(args)
    require("gdnmeta.cli.output").flush() -- exit would say nothing of a full disk
    return answer
  end, function(err)
    traceback = debug.traceback(plain(err, argv[1]), 2)
    return err
  end)
  if ok then return status or 0 end
  local message = contains(argv, "--debug") and traceback:gsub("\t", "  ") or plain(status, argv[1])
  io.stderr:write("gdnmeta: ", foreign_text.lines(message), "\n")
  return 2
end

return M
