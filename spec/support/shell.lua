-- Commands of a shell. What watches this process, a checker say, is not handed on to them.
local M = {}

---@param text string
---@return string
function M.quote(text) return "'" .. text:gsub("'", [['\'']]) .. "'" end

--- Run lines of sh.
---@param lines string
---@return integer status
---@return string output stdout and stderr
function M.run(lines)
  local command = "env -u LD_PRELOAD -u GDNMETA_LIB sh -c %s 2>&1; echo \"rc $?\""
  local pipe = assert(io.popen(command:format(M.quote(lines))))
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.-)rc (%d+)\n$"
  return tonumber(status), output
end

--- Output of lines that must succeed.
---@param lines string
---@return string output
function M.output(lines)
  local status, output = M.run(lines)
  if status ~= 0 then error(("%s\nstatus %d: %s"):format(lines, status, output), 2) end
  return output
end

---@param program string
---@return boolean
function M.has(program) return (M.run("command -v " .. program)) == 0 end

--- A new folder whose name has blanks.
---@return string path
function M.folder()
  local path = os.tmpname()
  os.remove(path)
  path = path .. " of gdnmeta"
  M.output("mkdir " .. M.quote(path))
  return path
end

return M
