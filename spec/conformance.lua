-- Runs the vectors through the public API of gdnmeta.
--   luajit spec/conformance.lua [--device cpu|cuda|fake] [--only ID] FILE.jsonl...
-- Ends with "N passed, M failed"; exit 1 when M > 0, 2 when it could not run. `fake` is the CUDA path
-- over build/libfakecuda.so, a driver that needs no GPU.
local ffi = require "ffi"

local USAGE = "usage: luajit spec/conformance.lua [--device cpu|cuda|fake] [--only ID] FILE.jsonl...\n"

local function stop(reason)
  io.stderr:write(reason, "\n", USAGE)
  os.exit(2)
end

-- This file's own tree, wherever the current directory is. LUA_PATH and LUA_CPATH have precedence.
local root = arg[0]:match "^(.-)[^/]*$" .. "../"
package.path = root .. "?.lua;" .. package.path
local function prefer(field, variable, places)
  package[field] = os.getenv(variable) and package[field] .. ";" .. places or places .. ";" .. package[field]
end
prefer("path", "LUA_PATH", root .. "lua/?.lua;" .. root .. "lua/?/init.lua")
prefer("cpath", "LUA_CPATH", root .. "build/?.so")

local DEVICES = { cpu = "cpu", cuda = "cuda", fake = "cuda" }

local function parse(arguments)
  local options, i = { device = "cpu", files = {} }, 1
  while arguments[i] do
    local word = arguments[i]
    if word == "--device" or word == "--only" then
      options[word:sub(3)] = arguments[i + 1] or stop(word .. " wants a value")
      i = i + 1
    elseif word:sub(1, 1) == "-" then
      stop("unknown option " .. word)
    else
      options.files[#options.files + 1] = word
    end
    i = i + 1
  end
  if not DEVICES[options.device] then stop("unknown device " .. options.device) end
  if #options.files == 0 then stop "no file" end
  for _, path in ipairs(options.files) do
    local file, reason = io.open(path)
    -- A directory opens, and then cannot be read; an empty file has no first byte either.
    if not file then stop(reason) end
    if not file:read(0) and file:seek "end" ~= 0 then stop(path .. ": not readable") end
    file:close()
  end
  return options
end

local options = parse(arg)
if options.device == "fake" then
  ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"
  ffi.C.setenv("GDNMETA_LIBCUDA", root .. "build/libfakecuda.so", 1)
end

local vectors = require "spec.support.vectors"
local passed, failed = 0, 0

local function run_file(path)
  local runner = vectors.runner(DEVICES[options.device])
  for case in vectors.cases(path) do
    if not options.only or case.id == options.only then
      local reason = runner:run(case)
      if reason then
        failed = failed + 1
        print(("%s: %s: %s"):format(path, tostring(case.id), reason))
      else
        passed = passed + 1
      end
    end
  end
  runner:close()
end

for _, path in ipairs(options.files) do
  local ok, reason = pcall(run_file, path)
  if not ok then stop(tostring(reason)) end
end
if options.only and passed + failed == 0 then stop("no case " .. options.only) end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed > 0 and 1 or 0)
