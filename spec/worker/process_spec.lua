-- A worker's process: what it inherits, what it leaves behind, how it ends.
local ffi = require "ffi"
local libc = require "gdnmeta.native.libc"
local process_state = require "spec.support.process_state"
local shell = require "spec.support.shell"
local array_of = require "gdnmeta.array_of"
local channels = require "spec.support.channels"
local lib = require "gdnmeta.native"

local why = ffi.new "char[300]"
local make, free = channels.make, channels.free
pcall(ffi.cdef, "int getpid(void);")
ffi.cdef "int waitpid(int id, int *status, int options); int fcntl(int fd, int command, ...);"

describe("A worker's process", function()
  local strings = array_of "const char *"
  local function start(arguments, descriptor, environment)
    local list, out = strings(#arguments + 1), ffi.new "gdn_process *[1]"
    for n, text in ipairs(arguments) do list[n - 1] = text end
    local variables = strings(2)
    variables[0] = environment
    local status = lib.gdn_process_new(list, variables, descriptor, out, why, 300)
    assert(#arguments > 0)
    if status ~= 0 then return nil, ffi.string(why) end
    return out[0]
  end
  local function ended(process)
    local text = ffi.new "char[100]"
    for _ = 1, 5000 do
      if lib.gdn_process_ended(process, text, 100) == 1 then return ffi.string(text) end
      libc.libc_poll(nil, 0, 1)
    end
    error "does not end"
  end

  it("has its channel and no other descriptor, no signal ignored or blocked, a group of its own", function()
    local engine, path = make(64, 64), os.tmpname()
    local extra = assert(io.open "Makefile") -- not to be inherited
    local script = ("exec >%s; ls -l /proc/self/fd | sed 's/.* \\([0-9]*\\) -> /\\1 /;/total/d';"
      .. "grep -E 'Sig(Ign|Blk)' /proc/self/status; echo $HOME; env | grep -c ^HOME=;"
      .. "cut -d' ' -f5 /proc/$$/stat; echo $$"):format(path)
    local process = assert(start({ "sh", "-c", script }, lib.gdn_channel_descriptor(engine), "HOME=me"))
    assert.are.equal("has ended with status 0", ended(process))
    lib.gdn_process_free(process)
    local text = assert(io.open(path)):read "*a"
    os.remove(path)
    extra:close()
    assert.matches("\n3 /memfd:gdnmeta", text)
    assert.is_nil(text:find("Makefile", 1, true))
    for descriptor in text:gmatch "\n(%d+) /" do -- 4 is of ls
      assert.is_true(tonumber(descriptor) <= 4, text)
    end
    -- Signals 32 and 33 are the C library's own: it lets nobody change what is inherited.
    assert.matches("SigBlk:%s*0+\nSigIgn:%s*0000000[01][08]0000000\nme\n1\n", text)
    local group, pid = text:match "(%d+)\n(%d+)\n$"
    assert.are.equal(pid, group)
  end)

  it("leaves no descriptor, zombie or process behind, whatever it does", function()
    local function descriptors() -- counted here: a shell may see its own pipe's other end, not closed yet
      local get_flags, n = 1, 0
      for descriptor = 0, 4095 do
        if ffi.C.fcntl(descriptor, get_flags) ~= -1 then n = n + 1 end
      end
      return n
    end
    collectgarbage() -- channels of other tests
    collectgarbage()
    local before, ids = descriptors(), {}
    local sleep = ("sleep 60.%d"):format(ffi.C.getpid()) -- which nobody else on this machine runs
    for n = 1, 40 do
      local engine = make(64, 64)
      local process = assert(start({ "sh", "-c", n % 2 == 0 and sleep .. " & " .. sleep or "exit 1" },
                                   lib.gdn_channel_descriptor(engine)))
      ids[n] = lib.gdn_process_id(process)
      if n % 3 == 0 then libc.libc_poll(nil, 0, 3) end
      lib.gdn_process_free(process)
      free(engine)
    end
    local left
    for _ = 1, 2000 do
      local engine = make(64, 64)
      local process = assert(start({ "true" }, lib.gdn_channel_descriptor(engine))) -- which reaps others
      lib.gdn_process_free(process)
      free(engine)
      left = 0
      for _, id in ipairs(ids) do
        if process_state(id) then left = left + 1 end
      end
      if left == 0 then break end
      libc.libc_poll(nil, 0, 1)
    end
    assert.are.equal(0, left)
    local after = descriptors() -- may be fewer: what others left was collected meanwhile
    assert(after <= before, ("%d descriptors, %d before"):format(after, before))
    local sleepers -- one that was killed is there until it runs again, to its end
    for _ = 1, 200 do
      sleepers = shell.output(("ps -eo args= | grep '^%s$' || true"):format(sleep))
      if sleepers == "" then break end
      libc.libc_poll(nil, 0, 20)
    end
    assert.are.equal("", sleepers, "children of workers are left")
  end)

  it("is killed though it has left its group", function()
    local engine, path = make(64, 64), os.tmpname()
    local program = ([[
      local ffi, file = require "ffi", io.open(%q, "w")
      ffi.cdef "int setpgid(int, int); int getpgid(int); int getppid(void); int pause(void);"
      assert(ffi.C.setpgid(0, ffi.C.getpgid(ffi.C.getppid())) == 0)
      file:write "ready"
      file:close()
      ffi.C.pause()]]):format(path)
    local is_ready = false
    local process = assert(start({ "luajit", "-e", program }, lib.gdn_channel_descriptor(engine)))
    local id = lib.gdn_process_id(process)
    for _ = 1, 5000 do
      local file = assert(io.open(path))
      is_ready = file:read "*a" == "ready"
      file:close()
      if is_ready then break end
      libc.libc_poll(nil, 0, 1)
    end
    assert(is_ready)
    lib.gdn_process_free(process)
    local got = 0
    for _ = 1, 5000 do
      got = ffi.C.waitpid(id, nil, 1)
      if got ~= 0 then break end
      libc.libc_poll(nil, 0, 1)
    end
    assert.are_not.equal(0, got, "it lives")
    os.remove(path)
    free(engine)
  end)

  it("that cannot be run is named", function()
    local engine = make(64, 64)
    for _ = 1, 5000 do -- those of other tests were killed, and may not be gone yet
      if ffi.C.waitpid(-1, nil, 1) == -1 then break end
      libc.libc_poll(nil, 0, 1)
    end
    for path, problem in pairs {
      ["/no/such"] = "No such file or directory", ["/etc/passwd"] = "Permission denied",
    } do
      assert.are.equal(("cannot run %s: %s"):format(path, problem),
                       (select(2, start({ path }, lib.gdn_channel_descriptor(engine)))))
    end
    assert.matches("^cannot run sh: Bad file descriptor$", select(2, start({ "sh", "-c", "exit" }, 999)))
    assert.are.equal(-1, ffi.C.waitpid(-1, nil, 1), "a process that could not run is left") -- no child at all
  end)

  -- Its channel wants a descriptor of 16 and above, /dev/null any. Run where there are 40 and no other.
  it("is not started without descriptors, and says so", function()
    local status, text = shell.run([[ulimit -n 40; exec luajit -e "
      local ffi, lib = require 'ffi', require 'gdnmeta.native'
      local channels = require 'spec.support.channels'
      ffi.cdef 'int open(const char *, int); int close(int);'
      local engine, why, out = channels.make(64, 64), ffi.new 'char[300]', ffi.new 'gdn_process *[1]'
      local list = ffi.new 'const char *[2]'
      list[0] = 'true'
      while ffi.C.open('/dev/null', 0) >= 0 do end
      for _, free in ipairs { {}, { 0 }, { 39 }, { 0, 39 }, { 38, 39 } } do
        for _, descriptor in ipairs(free) do ffi.C.close(descriptor) end
        local status = lib.gdn_process_new(list, nil, lib.gdn_channel_descriptor(engine), out, why, 300)
        print(#free, status == 0 and 'started' or ffi.string(why))
        if status == 0 then lib.gdn_process_free(out[0]) end
        while ffi.C.open('/dev/null', 0) >= 0 do end
      end"]])
    local none = "cannot run true: Too many open files\n"
    assert.are.equal(("0\t%s1\t%s1\t%s2\tstarted\n2\tstarted\n"):format(none, none, none), text)
    assert.are.equal(0, status)
  end)

  it("dies with the process that has started it", function()
    local path = os.tmpname()
    local program = ([[
      local hosts = require "spec.support.worker_host"
      local host = assert(hosts.new(hosts.engine(), { command = hosts.COMMAND }))
      local file = io.open(%q, "w")
      file:write(host.worker.pid)
      file:close()
      require("ffi").cdef "int kill(int, int); int getpid(void);"
      require("ffi").C.kill(require("ffi").C.getpid(), 9)
    ]]):format(path)
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(program)
    file:close()
    os.execute("luajit " .. script .. " 2>/dev/null")
    local pid = tonumber(assert(io.open(path)):read "*a")
    assert.is_true(pid > 1)
    local is_there = true
    for _ = 1, 3000 do
      local state = process_state(pid)
      is_there = state ~= nil and state ~= "Z"
      if not is_there then break end
      libc.libc_poll(nil, 0, 1)
    end
    assert.is_false(is_there)
    os.remove(path)
    os.remove(script)
  end)
end)
