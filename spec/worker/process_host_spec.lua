-- What a worker's process takes over of its host, and what it leaves to it: variables, signals, and children
-- that are no workers.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"
local channels = require "spec.support.channels"
local lib = require "gdnmeta.native"
local libc = require "gdnmeta.native.libc"
local process_state = require "spec.support.process_state"

local strings = array_of "const char *"
local why = ffi.new "char[300]"
local IGNORE, SET = ffi.cast("void *", 1), 2
pcall(ffi.cdef, "int getpid(void); int waitpid(int id, int *status, int options);")
pcall(ffi.cdef, [[int process_host_mask(int how, const uint64_t *set, uint64_t *old)
  __asm__("sigprocmask");]])

local function list_of(list)
  local all = strings(#list + 1)
  for n, text in ipairs(list) do all[n - 1] = text end
  return all
end

-- What the script prints.
local function output(script, variables)
  local engine, path = channels.make(64, 64), os.tmpname()
  local arguments, out = { "sh", "-c", ("exec >%s; %s"):format(path, script) }, ffi.new "gdn_process *[1]"
  assert(lib.gdn_process_new(list_of(arguments), list_of(variables), lib.gdn_channel_descriptor(engine), out,
                             why, 300) == 0, ffi.string(why))
  local process = out[0]
  for _ = 1, 5000 do
    if lib.gdn_process_ended(process, why, 300) == 1 then break end
    libc.libc_poll(nil, 0, 1)
  end
  assert.are.equal("has ended with status 0", ffi.string(why))
  lib.gdn_process_free(process)
  channels.free(engine)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  os.remove(path)
  return text
end

local function sorted(text, without)
  local lines = {}
  for line in text:gmatch "[^%z]+" do
    if not line:find(without) then lines[#lines + 1] = line end
  end
  table.sort(lines)
  return lines
end

describe("The process of a worker", function()
  it("has its host's variables, in their order, and those that it is given instead of them", function()
    local file = assert(io.open "/proc/self/environ")
    local mine = sorted(file:read "*a", "^HOME=")
    file:close()
    assert.is_true(#mine > 3)
    local given = { "HOME=me", "GDNMETA_ONE=1=2", "GDNMETA_TWO=" }
    local its = sorted(output("exec cat /proc/self/environ", given), "^$")
    for _, line in ipairs(given) do mine[#mine + 1] = line end
    table.sort(mine)
    assert.are.same(mine, its)
  end)

  it("ignores and blocks no signal that its host ignores and blocks", function()
    local NUMBERS, before, was = { 1, 2, 10, 12, 13, 15, 34, 63, 64 }, {}, ffi.new "uint64_t[16]"
    for n, number in ipairs(NUMBERS) do before[n] = libc.libc_signal(number, IGNORE) end
    local set = ffi.new "uint64_t[16]"
    set[0] = bit.bor(bit.lshift(1ULL, 9), bit.lshift(1ULL, 11), bit.lshift(1ULL, 63))
    assert(ffi.C.process_host_mask(SET, set, was) == 0)
    local ok, text = pcall(output, "exec grep -E 'Sig(Ign|Blk)' /proc/self/status", {})
    ffi.C.process_host_mask(SET, was, nil)
    for n, number in ipairs(NUMBERS) do libc.libc_signal(number, before[n]) end
    assert(ok, text)
    -- 32 and 33 are the C library's own.
    assert.matches("^SigBlk:%s*0+\nSigIgn:%s*0000000[01][08]0000000\n$", text)
  end)

  it("is reaped, and no other child of its host", function()
    local pipe = io.popen "echo $$"
    local id = tonumber(pipe:read "*l")
    for _ = 1, 5000 do
      if process_state(id) == "Z" then break end
      libc.libc_poll(nil, 0, 1)
    end
    for _ = 1, 3 do assert.are.equal("well\n", output("echo well", {})) end
    assert.are.equal(id, ffi.C.waitpid(id, nil, 1)) -- it is there for its host
    pipe:close()
  end)
end)
