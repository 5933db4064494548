-- Is a changed file the same program? Proven by what compilers make of it, never by reading: C where each
-- object of the release and of the debug build, the specs' driver and the generated declarations have the
-- same bytes, Lua where LuaJIT makes the same bytecode. Such a mutant is no fault, and another is drawn.
local BUILDS = { "BUILD=build/release OPT=-O3", "BUILD=build/debug OPT='-O1 -DGDN_DEBUG'" }

local M = {}

local function shell(command) return os.execute(command) == 0 end

--- Compile a tree as it is released and as it is debugged.
---@param tree string folder
---@return boolean
function M.compile(tree)
  for _, build in ipairs(BUILDS) do
    local command = "nice timeout 900 make -s -j%d -C %s lib fake WITH_CUDA=0 %s >%s.log 2>&1 </dev/null"
    local jobs = tonumber(io.popen "nproc":read "*l")
    if not shell(command:format(jobs, tree, build, tree)) then return false end
  end
  return true
end

-- Sums of all that was compiled in this folder.
local function sums(tree, folder)
  local find = "cd %s && find %s \\( -name '*.o' -o -name 'libfakecuda.so' \\) -exec md5sum {} + | sort; " ..
    "md5sum lua/gdnmeta/native/cdef.lua lua/gdnmeta/native/schema.lua lua/gdnmeta/worker/cdef.lua"
  local pipe = io.popen(find:format(tree, folder))
  local text = pipe:read "*a"
  pipe:close()
  assert(#text > 0, "nothing is compiled in " .. tree)
  return text
end

--- Are the objects equal that the specs were compiled into? Then it is worth asking for the proof at once.
---@return boolean
function M.is_likely(whole, tree, path)
  return not path:find "%.lua$" and sums(whole, "build/obj") == sums(tree, "build/obj")
end

local function bytecode(path)
  local pipe = io.popen(("luajit -b -s -t raw %s -"):format(path))
  local code = pipe:read "*a"
  pipe:close()
  assert(#code > 0, path)
  return code
end

--- Do both trees, which differ in one file, hold the same program?
---@param whole string folder, compiled
---@param tree string folder
---@param path string the file that was changed
---@return boolean
function M.proven(whole, tree, path)
  if path:find "%.lua$" then return bytecode(whole .. "/" .. path) == bytecode(tree .. "/" .. path) end
  if not M.compile(tree) then return false end
  for _, folder in ipairs { "build/release", "build/debug" } do
    if sums(whole, folder) ~= sums(tree, folder) then return false end
  end
  return true
end

return M
