-- A worker's process, system call by system call: which are made, in which order, and what is said and left
-- where one of them fails.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local calls = require "spec.support.counted_calls"
local libc = require "gdnmeta.native.libc"
local process_state = require "spec.support.process_state"

local lib, strings = calls.lib, gdn.array_of "const char *"
local why = ffi.new "char[300]"
pcall(ffi.cdef, "int getpid(void);")
pcall(ffi.cdef, "int waitpid(int id, int *status, int options);")
pcall(ffi.cdef, "int kill(int id, int number);")
local EIO, ECHILD, EINTR, ENOSYS = 5, 10, 4, 38
local ME = ffi.C.getpid()

describe("The system calls of a worker's process", function()
  local channel, descriptor
  setup(function()
    local out = ffi.new "gdn_channel *[1]"
    assert(lib.gdn_channel_new(64, 64, out, why, 300) == 0)
    channel = out[0]
    descriptor = lib.gdn_channel_descriptor(channel)
  end)
  teardown(function() lib.gdn_channel_free(channel) end)

  -- Calls of a start; the process, or nil and what is said.
  local function start(how, ...)
    local given = { ... }
    local list, out = strings(#given + 1), ffi.new "gdn_process *[1]"
    for n, text in ipairs(given) do list[n - 1] = text end
    ffi.fill(why, 300)
    local status
    local text = calls.of(how, function()
      status = tonumber(lib.gdn_process_new(list, nil, descriptor, out, why, 300))
    end)
    if status == 0 then return text, out[0] end
    assert.are.same({ gdn.EINVAL, true }, { status, out[0] == nil })
    return text, nil, ffi.string(why)
  end

  -- Waits until it is at its end, and leaves it to be reaped.
  local function await(id)
    for _ = 1, 5000 do
      if process_state(id) == "Z" then return end
      libc.libc_poll(nil, 0, 1)
    end
    error "does not end"
  end

  -- Numbers of descriptors and processes by what they are; the long list of signals as one line.
  local function readable(text)
    local high, input = text:match "fcntl%(%d+, 0, 16%) = (%d+)", text:match "open%(/dev/null, 0%) = (%d+)"
    local signals = {}
    text = text:gsub("sigaction%((%d+), default, 0, 0 signals%)\n", function(number)
      signals[#signals + 1] = tonumber(number)
      return number == "1" and "sigaction: all are default\n" or ""
    end)
    for n, number in ipairs(signals) do assert.are.equal(n, number) end
    assert.is_true(#signals == 64 or #signals == 0)
    text = text:gsub("(%d+) signals", function(n)
      return tonumber(n) > 55 and "all signals" or n .. " signals"
    end)
    text = text:gsub("getppid%(%) = " .. ME .. "\n", "getppid() = me\n")
    text = text:gsub("fcntl%(" .. descriptor .. ", 0, 16%) = %d+", "fcntl(channel, 0, 16) = high")
    text = text:gsub("open%(/dev/null, 0%) = %d+", "open(/dev/null, 0) = input")
    if input then text = text:gsub("dup2%(" .. input .. ", 0%)", "dup2(input, 0)") end
    if high then text = text:gsub("dup2%(" .. high .. ", 3%)", "dup2(high, 3)") end
    return text
  end

  local BEFORE = "sigprocmask(2, all signals) = 0\nsetpgid(0, 0) = 0\n"
    .. "prctl(1, 9, with all signals blocked) = 0\ngetppid() = me\nfcntl(channel, 0, 16) = high\n"
    .. "open(/dev/null, 0) = input\ndup2(input, 0) = 0\ndup2(high, 3) = 3\n"
  local AFTER = "sigaction: all are default\nsigprocmask(2, 0 signals) = 0\nexecvpe(true)\n"
    .. "sigprocmask(2, 0 signals) = 0\n"

  local function gone(process)
    local id = lib.gdn_process_id(process)
    await(id)
    lib.gdn_process_free(process)
    assert.are.equal(-1, ffi.C.waitpid(id, nil, 1))
  end

  it("are these", function()
    local text, process = start(nil, "true")
    assert.are.equal(BEFORE .. "syscall(436, 4, 4294967295, 0) = 0\n" .. AFTER, readable(text))
    gone(process)
  end)

  it("close every descriptor one by one where the kernel is old", function()
    for _, case in ipairs { { 40, 39 }, { 5, 4 }, { 4, 3 }, { 70000, 65535 }, { 65535, 65534 } } do
      local text, process = start({ fail = "syscall", error = ENOSYS, limit = case[1] }, "true")
      local first, last, n = text:match "close%((%d+)%)", nil, 0
      for fd in text:gmatch "close%((%d+)%)" do last, n = tonumber(fd), n + 1 end
      local want = case[2] >= 4 and { "4", case[2], case[2] - 3 } or { nil, nil, 0 }
      assert.are.same({ want[1], want[2], want[3] }, { first, last, n })
      assert.matches("syscall%(436, 4, 4294967295, 0%) = %-1\ngetrlimit%(7%) = 0\n", text)
      gone(process)
    end
  end)

  it("are refused by name, and leave nothing", function()
    for _, case in ipairs {
      { "prctl", 1, EIO, "Input/output error" }, { "getppid", 1, 0, "No such process" },
      { "fcntl", 1, EIO, "Input/output error" }, { "open", 1, EIO, "Input/output error" },
      { "dup2", 1, EIO, "Input/output error" }, { "dup2", 2, EIO, "Input/output error" },
      { "execvpe", 1, EIO, "Input/output error" },
    } do
      ffi.errno(2) -- of something before
      local text, process, said = start({ fail = case[1], nth = case[2], error = case[3] }, "true")
      assert.are.same({ case[1], nil, "cannot run true: " .. case[4] }, { case[1], process, said })
      local id, result = text:match "waitpid%((%d+), 0%) = (%d+)\n$"
      assert.are.equal(id, result)
      assert.are.equal(case[1] == "execvpe", text:find "execvpe" ~= nil)
    end
    local text, process = start({ fail = "setpgid", error = EIO }, "true") -- its group is its host's
    assert.matches("setpgid%(0, 0%) = %-1\nprctl", text)
    gone(process)
  end)

  it("wait for a child that could not run, whatever interrupts that", function()
    local path = "/no/such"
    local text = start({ fail = "waitpid", error = EINTR }, path)
    local id = text:match "waitpid%((%d+), 0%) = %-1\nwaitpid%(%1, 0%) = %1\n$"
    assert.is_truthy(id, text)
    text = start({ fail = "waitpid", error = ECHILD }, path) -- its host has reaped it
    id = text:match "execvpe%(/no/such%)\nsigprocmask%(2, 0 signals%) = 0\nwaitpid%((%d+), 0%) = %-1\n$"
    assert.is_truthy(id, text)
    assert.are.equal(tonumber(id), ffi.C.waitpid(tonumber(id), nil, 0))
  end)

  local function ended(process, how)
    ffi.fill(why, 300, 65)
    local status
    local text = calls.of(how, function() status = tonumber(lib.gdn_process_ended(process, why, 300)) end)
    return status, status == 1 and ffi.string(why), (text:gsub("%d+,", function(number)
      return tonumber(number:sub(1, -2)) > 1 and "id," or number
    end))
  end

  it("say how it has ended, once", function()
    for script, want in pairs {
      ["exit 0"] = "has ended with status 0", ["exit 77"] = "has ended with status 77",
      ["kill -9 $$"] = "was ended by signal 9 (Killed)",
      ["kill -15 $$"] = "was ended by signal 15 (Terminated)",
    } do
      local _, process = start(nil, "sh", "-c", script)
      local id = lib.gdn_process_id(process)
      await(id)
      for _, alive in ipairs { 0, EINTR } do
        local status, said, text = ended(process, { fail = "waitpid", error = alive })
        assert.are.same({ 0, false, alive == 0 and "waitpid(id, 1) = 0\n" or "waitpid(id, 1) = -1\n" },
          { status, said, text })
        assert.are.equal(id, lib.gdn_process_id(process))
      end
      local status, said, text = ended(process)
      assert.are.same({ 1, want }, { status, said })
      assert.matches("^waitpid%(id, 1%) = %d+\nkill%(%-id, 9%) = ", text)
      assert.are.same({ 1, want, "" }, { ended(process) })
      assert.are.equal(0, lib.gdn_process_id(process))
      for size, cut in pairs { [0] = "AAAAAA", [1] = "\0AAAAA", [6] = want:sub(1, 5) .. "\0" } do
        ffi.fill(why, 300, 65)
        assert.are.equal(1, tonumber(lib.gdn_process_ended(process, why, size)))
        assert.are.equal(cut, ffi.string(why, 6))
      end
      assert.are.equal(1, tonumber(lib.gdn_process_ended(process, nil, 300)))
      assert.are.equal("", (calls.of(nil, function() lib.gdn_process_free(process) end)))
    end
    local _, process = start(nil, "true")
    local id = lib.gdn_process_id(process)
    await(id)
    assert.are.equal(id, ffi.C.waitpid(id, nil, 0)) -- as a host does that reaps all
    local status, said = ended(process)
    assert.are.same({ 1, "has ended" }, { status, said })
    lib.gdn_process_free(process)
  end)

  -- Calls that reap what was killed: nothing is started.
  local function reap(how)
    return calls.of(how, function() lib.gdn_process_new(nil, nil, 0, nil, nil, 0) end)
  end

  it("are made again for each that was killed and lived, until it is gone", function()
    for _, n in ipairs { 1, 2, 64 } do
      local processes, ids = {}, {}
      for k = 1, n do
        processes[k] = select(2, start(nil, "sleep", "60"))
        ids[k] = lib.gdn_process_id(processes[k])
      end
      for k = 1, n do
        local text = calls.of({ fail = "waitpid", nth = 0 }, function()
          lib.gdn_process_free(processes[k])
        end)
        local id = ids[k]
        local its = ("waitpid(ID, 1) = 0\nkill(-ID, 9) = 0\nkill(ID, 9) = 0\nwaitpid(ID, 1) = 0\n")
          :gsub("ID", id)
        assert.are.equal(its, text:sub(-#its))
      end
      local asked, reaped = {}, {}
      for k, id in ipairs(ids) do
        asked[k] = ("waitpid(%d, 1) = 0\n"):format(id)
        reaped[k] = ("waitpid(%d, 1) = %d\n"):format(id, id)
      end
      for _, id in ipairs(ids) do await(id) end
      assert.are.equal(table.concat(asked), reap { fail = "waitpid", nth = 0 })
      assert.are.equal(table.concat(reaped), reap())
      assert.are.equal("", reap())
    end
  end)
end)
