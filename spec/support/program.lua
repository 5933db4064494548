-- The program itself, as a shell starts it, in a folder for the files of one spec.
local M = {}

--- A new folder.
---@return table program folder, run, read, write, close
function M.new()
  local self = { folder = os.tmpname() }
  local folder = self.folder
  os.remove(folder)
  assert(os.execute("mkdir " .. folder) == 0)

  --- stdout, stderr and exit status of `gdnmeta <arguments>`; what watches this process is not handed on.
  function self.run(arguments, before)
    local command = ("%s env -u LD_PRELOAD -u GDNMETA_LIB bin/gdnmeta %s >%s/out 2>%s/err; echo $?"):format(
      before or "", arguments, folder, folder)
    local pipe = assert(io.popen(command))
    local status = tonumber(pipe:read "*a")
    pipe:close()
    return self.read "out", self.read "err", status
  end

  function self.read(name)
    local file = assert(io.open(folder .. "/" .. name, "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end

  function self.write(name, text)
    local path = folder .. "/" .. name
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    return path
  end

  function self.close() os.execute("rm -r " .. folder) end

  return self
end

return M
