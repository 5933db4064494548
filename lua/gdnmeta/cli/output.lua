-- What commands leave behind: JSON of runs, HTML, and the command line that made them.
local fail = require("gdnmeta.cli").fail
local values = require "gdnmeta.cli.values"

local M = {}

local FORMAT = 1 -- of the JSON; merge refuses others

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
  local words = { "gdnmeta" }
  for i, word in ipairs(argv) do words[i + 1] = M.quote(word) end
  return table.concat(words, " ")
end

local function open_beside(path)
  local beside = path .. ".part"
  local file, why = io.open(beside, "wb")
  if not file then fail("%s: %s", path, why:match ": (.*)$" or why) end
  return file, beside
end

--- Before hours of work: can the files that it is asked for be written?
---@param args table json, csv, report: paths, or nil
function M.check(args)
  local taken = {}
  for _, name in ipairs { "json", "csv", "report" } do
    local path = values.read("--" .. name, args[name], values.text "a path, or - for stdout")
    if path and taken[path] then fail("--%s = %s, want another file than --%s", name, path, taken[path]) end
    if path then taken[path] = name end
    if path and path ~= "-" then
      local file, beside = open_beside(path)
      file:close()
      os.remove(beside)
    end
  end
end

--- Write a file, through one of its own: a reader never meets half of it.
---@param path string "-" is stdout
---@param text string
function M.write(path, text)
  if path == "-" then
    io.stdout:write(text)
    return
  end
  local file, beside = open_beside(path)
  local ok, why = file:write(text)
  file:close()
  if not ok then fail("%s: %s", path, why) end
  ok, why = os.rename(beside, path)
  if not ok then fail("%s", why) end
end

local function json()
  local ok, cjson = pcall(require, "cjson")
  if not ok then fail "the Lua module cjson is missing: `luarocks install lua-cjson`" end
  return cjson.new()
end

local function portable(run)
  local copy = {}
  for name, value in pairs(run) do
    if name ~= "per_request" then copy[name] = value end
  end
  return copy
end

--- Runs as JSON; what a run knows of single requests stays out.
---@param command string
---@param runs table
---@return string
function M.json(command, runs)
  local list = {}
  for i, run in ipairs(runs) do list[i] = portable(run) end
  return json().encode { gdnmeta = FORMAT, command = command, runs = list } .. "\n"
end

-- A line a request and run; what a request did not come to is empty.
local function csv(runs)
  local lines = { "policy,request,user,arrival_s,prompt_tokens,output_tokens,queue_ms,ttft_ms,e2e_ms" }
  local function ms(value) return value and ("%.6f"):format(value) or "" end
  for _, run in ipairs(runs) do
    local per = run.per_request
    for i, r in ipairs(per.requests) do
      lines[#lines + 1] = ("%s,%d,%s,%.6f,%d,%d,%s,%s,%s"):format(run.policy, i, r.user or "", r.arrival,
        r.prompt, r.output, ms(per.queue[i]), ms(per.ttft[i]), ms(per.e2e[i]))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Write the files that a command was asked for.
---@param args table json, csv, report: paths, or nil
---@param command string
---@param runs table
---@param page function(runs, command) -> html
function M.deliver(args, command, runs, page)
  if args.json then M.write(args.json, M.json(command, runs)) end
  if args.csv then M.write(args.csv, csv(runs)) end
  if args.report then M.write(args.report, page(runs, command)) end
end

--- Runs of a file that M.json wrote.
---@param path string
---@return table document command, runs
function M.read(path)
  values.read("files", path, values.text "paths")
  local file, why = io.open(path, "rb")
  if not file then fail("%s", why) end
  local text = file:read "*a"
  file:close()
  local ok, document = pcall(json().decode, text or "")
  if not ok then fail("%s: %s", path, document) end
  if type(document) ~= "table" or document.gdnmeta ~= FORMAT or type(document.runs) ~= "table" then
    fail("%s: no result of gdnmeta simulate", path)
  end
  return document
end

return M
