-- Files that the command line names. One may be a pipe, which can be read only once: those of policies and
-- caches are read before the first run, and what a second reader would find empty is refused.
local fail = require("gdnmeta.cli.values").fail
local foreign_text = require "gdnmeta.native.foreign_text"
local load_file = require "gdnmeta.policy.contained.load_file"
local output = require "gdnmeta.cli.output"

local M = {}

local OF_THIS_PROCESS = { "^/dev/stdin$", "^/dev/fd/", "^/proc/self/" }

-- A pipe, a terminal or a socket?
local function is_read_once(path)
  local quoted = output.quote(path)
  return os.execute(("[ ! -e %s ] || [ -f %s ] || [ -d %s ]"):format(quoted, quoted, quoted)) ~= 0
end

-- Does another process find something else there?
local function is_of_this_process(path)
  for _, pattern in ipairs(OF_THIS_PROCESS) do
    if path:find(pattern) then return true end
  end
  return false
end

-- Options that name files: { flag, path }.
local function named(args)
  local list = {}
  for _, name in ipairs { "trace", "calibrate", "accept" } do
    if args[name] then list[#list + 1] = { "--" .. name, args[name] } end
  end
  for _, name in ipairs { "policy", "cache" } do
    for _, what in ipairs(args[name] or {}) do
      if load_file.is_path(what) then list[#list + 1] = { "--" .. name, what } end
    end
  end
  return list
end

--- Refuse an input that two options would read, or that other processes are to read again.
---@param args table parsed
---@param of_jobs boolean|nil what is run, other processes run
function M.check(args, of_jobs)
  local before = {}
  for _, entry in ipairs(named(args)) do
    local flag, path = entry[1], entry[2]
    if of_jobs and is_of_this_process(path) then
      fail("%s = %s, want a file that every job can read (or --jobs 1)", flag, foreign_text.long(path))
    end
    if before[path] and before[path] ~= flag and is_read_once(path) then
      fail("%s and %s are both %s, which can be read only once", before[path], flag,
        foreign_text.long(path))
    end
    before[path] = before[path] or flag
  end
end

--- A policy or a cache, whose file is read no second time.
---@param kind string "policy" or "cache"
---@param what string as the command line says
---@param args table parsed; gets `sources`, what was read, by path
---@return table|nil loaded, string? message
function M.load(kind, what, args)
  local sources = args.sources
  if load_file.is_path(what) and not sources[what] then
    local text, message = load_file.read(kind, what)
    if not text then return nil, message end
    sources[what] = text
  end
  return require("gdnmeta")[kind](what, { trusted = args.trusted, source = sources[what] })
end

return M
