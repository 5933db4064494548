-- What commands write: JSON of runs, HTML, and the command line that made them.
local fail = require("gdnmeta.cli.values").fail
local run_files = require "gdnmeta.cli.run_files"
local report = require "gdnmeta.report.text"
local values = require "gdnmeta.cli.values"
local libc = require "gdnmeta.native.libc"
local foreign_text = require "gdnmeta.native.foreign_text"

local M = {}

--- An argument as a shell reads it back.
---@param text string
---@return string
function M.quote(text)
  if text:find "^[%w_@%%+=:,./-]+$" then return text end
  return "'" .. text:gsub("'", [['\'']]) .. "'"
end

--- A command line from arguments.
---@param argv table
---@return string
function M.command(argv)
  local parts = { "gdnmeta" }
  for i, word in ipairs(argv) do parts[i + 1] = M.quote(word) end
  return table.concat(parts, " ")
end

local function holds(test, path)
  return os.execute((test:gsub("PATH", (M.quote(path):gsub("%%", "%%%%"))))) == 0
end

-- Another file may take its place. What is not there yet may come into being so, too; a device, a pipe and a
-- link are written through.
local function replaceable(path)
  return holds("test ! -L PATH && { test ! -e PATH || test -f PATH; }", path)
end

local function open(path, target)
  local file, why = io.open(target, "wb")
  if not file then fail("%s: %s", path, why:match ": (.*)$" or why) end
  return file
end

--- Before hours of work: check that the requested files can be written.
---@param args table json, csv, report: paths, or nil
function M.check(args)
  local taken = {}
  for _, name in ipairs { "json", "csv", "report" } do
    local path = values.read("--" .. name, args[name], values.text "a path, or - for stdout")
    if path and taken[path] then fail("--%s = %s, want another file than --%s", name, path, taken[path]) end
    if path then taken[path] = name end
    if path and path ~= "-" then
      if replaceable(path) then
        open(path, path .. ".part"):close()
        os.remove(path .. ".part")
      elseif not holds("test ! -e PATH || { test ! -d PATH && test -w PATH; }", path) then
        fail("%s: cannot be written, want the path of a file", path)
      end
    end
  end
end

--- True, or it fails: did stdout take all that was written to it?
function M.flush()
  local ok, why = io.stdout:flush()
  if not ok or libc.libc_ferror(io.stdout) ~= 0 then fail("stdout: %s", why or "not all was written") end
  return true
end

--- Write a file, through one of its own: a reader never meets half of it.
---@param path string "-" is stdout
---@param text string
function M.write(path, text)
  if path == "-" then
    local ok, why = io.stdout:write(text)
    return ok and M.flush() or fail("stdout: %s", why)
  end
  local target = replaceable(path) and path .. ".part" or path
  local file = open(path, target)
  local ok, why = file:write(text)
  local closed, late = file:close() -- a short text reaches the disk only here
  if ok and closed and target ~= path then ok, why = os.rename(target, path) end
  if ok and closed then return end
  if target ~= path then os.remove(target) end
  why = why or late
  fail("%s: %s", path, why:match ": (.*)$" or why)
end

--- Print a report. Names in it come from files, which may hold what a terminal would obey.
---@param text string
function M.say(text) print(foreign_text.lines(text, 20000)) end

--- Is stdout taken by one of the files?
---@param args table json, csv, report: paths, or nil
---@return boolean
function M.on_stdout(args)
  return args.json == "-" or args.csv == "-" or args.report == "-"
end

local function cell(value)
  local text = value == nil and "" or tostring(value)
  return text:find '[,"\r\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

--- A value as it stands in a line of a CSV.
M.cell = cell

-- One line per request and run; values that a request never reached are empty. Notes on how the workload was
-- read follow as comments.
local function csv(runs)
  local cached = false
  for _, run in ipairs(runs) do cached = cached or run.cache ~= nil end
  local lines = { "policy,request,user,arrival_s,prompt_tokens,output_tokens,queue_ms,ttft_ms,e2e_ms,class,"
    .. "priority,session" .. (cached and ",cached_tokens" or "") }
  local function ms(value) return value and ("%.6f"):format(value) or "" end
  for _, run in ipairs(runs) do
    local per = run.per_request
    for i, r in ipairs(per.requests) do
      lines[#lines + 1] = ("%s,%d,%s,%.6f,%d,%d,%s,%s,%s,%s,%s,%s"):format(cell(run.policy), i, cell(r.user),
        per.arrival[i], r.prompt, r.output, ms(per.queue[i]), ms(per.ttft[i]), ms(per.e2e[i]), cell(r.class),
        cell(r.priority), cell(r.session))
        .. (cached and "," .. (per.cached and per.cached[i] or "") or "")
    end
  end
  for _, notice in ipairs(report.notices(runs)) do lines[#lines + 1] = "# " .. notice end
  return table.concat(lines, "\n") .. "\n"
end

--- Write the files that the command line requests.
---@param args table json, csv, report: paths, or nil
---@param command string
---@param runs table
---@param page function(runs, command) -> html
function M.deliver(args, command, runs, page)
  if args.json then M.write(args.json, run_files.text(command, runs)) end
  if args.csv then M.write(args.csv, csv(runs)) end
  if args.report then M.write(args.report, page(runs, command)) end
end

return M
