-- A copy of the tree under build/, in which one file at a time is changed, built and put to the specs.
local related = require "spec.mutants.related"

local ROOT = "build/mutants"
local TREE, LOG = ROOT .. "/tree", ROOT .. "/log"
local SECONDS, KILOBYTES = 180, 8e6 -- of one run of busted: what is past them hangs or grows
local ENVIRONMENT = "LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' LUA_CPATH='./build/?.so;;' " ..
  "GDN_SEED=7"

local M = {}

local function shell(command) return os.execute(command) == 0 end

-- Runs in the copy.
local function run(command, cases)
  local line = "cd %s && ulimit -v %d && %s GDN_CASES=%d nice timeout -k 5 %d %s >../log 2>&1 </dev/null"
  return shell(line:format(TREE, KILOBYTES, ENVIRONMENT, cases, SECONDS, command))
end

--- The contents of a file of the copy: who edits the tree meanwhile does no harm.
---@return string
function M.read(path)
  local file = assert(io.open(("%s/%s"):format(TREE, path), "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(("%s/%s"):format(TREE, path), "wb"))
  file:write(text)
  file:close()
end

local function make()
  local command = "nice make -s -C %s OPT=-O1 WITH_CUDA=0 all fake build/libgdncounted.so >%s 2>&1"
  return shell(command:format(TREE, LOG))
end

-- Where the log says that a spec failed; nil: it does not say, so the process ended otherwise.
local function culprit()
  local file = io.open(LOG, "rb")
  local text = file:read "*a"
  file:close()
  return text:match "Failure %-> (%S+)" or text:match "Error %-> (%S+)"
end

-- nil when all pass, else the spec that did not.
local function busted(specs, cases, filter)
  local command = "luajit /usr/bin/busted --ignore-lua --no-keep-going --helper=spec/helper.lua " ..
    "--exclude-tags=system " .. (filter and ("--filter='%s' "):format(filter) or "") .. specs
  if run(command, cases) then return nil end
  return culprit() or "a crash or the time limit"
end

-- Everything, what is most about the file first. nil: nobody noticed.
local function put_to_specs(path)
  local by = busted(table.concat(related(path), " "), 300)
  if not by and not run("luajit spec/conformance.lua spec/goldens/*.jsonl", 300) then by = "spec/goldens" end
  return by or busted("spec", 300)
end

--- Files of the copy that may be changed.
---@return table paths
function M.sources()
  local list = {}
  local find = "cd %s && find src lua/gdnmeta -name '*.[ch]' -o -name '*.lua' ! -name cdef.lua | sort"
  local pipe = assert(io.popen(find:format(TREE)))
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  return list
end

--- Copy the tree and see that it is whole.
function M.open()
  local copy = "rm -rf %s && mkdir -p %s && tar --exclude=./build --exclude=./.git -cf - . | tar -xf - -C %s"
  assert(shell(copy:format(ROOT, TREE, TREE)))
  assert(make(), "the tree does not build, see " .. LOG)
  local by = busted("spec", 300)
  assert(not by, ("the tree itself fails: %s, see %s"):format(tostring(by), LOG))
end

--- Who notices that a file has this text? `filter`: only specs of that name are asked.
---@param path string
---@param text string
---@param filter string|nil
---@return string|nil verdict "killed", "survived", or nil: it does not compile
---@return string? by
function M.try(path, text, filter)
  local before = M.read(path)
  write(path, text)
  local verdict, by = nil, nil
  if make() then
    if filter then by = busted("spec/regressions", 300, filter) else by = put_to_specs(path) end
    verdict = by and "killed" or "survived"
  end
  write(path, before)
  return verdict, by
end

return M
