-- How the driver of CUDA is loaded, call by call: under which name, with which symbols, what is said where a
-- symbol is missing, and that a driver is asked whose memory a pool is if it is there, and never loaded.
local shell = require "spec.support.shell"
local drivers = require "spec.support.driver"

-- In a process of its own, whose core notes its calls.
local function run(program)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write([[
local ffi, gdn = require "ffi", require "gdnmeta"
local calls = require "spec.support.counted_calls"
ffi.cdef "int setenv(const char *, const char *, int); int unsetenv(const char *);"
local FAKE = "]] .. drivers.fake .. [["
local function name_driver(name)
  if name then ffi.C.setenv("GDNMETA_LIBCUDA", name, 1) else ffi.C.unsetenv "GDNMETA_LIBCUDA" end
end
]] .. program)
  file:close()
  local status, text = shell.run(("env -u LD_PRELOAD GDNMETA_LIB=%s luajit %s 2>&1"):format(
    require("spec.support.counted_library").path, path))
  os.remove(path)
  assert.are.equal(0, status, text)
  return text
end

describe("The driver of CUDA", function()
  it("is looked for under one name, and kept", function()
    local text = run [[
      for _, name in ipairs { false, "", "/no/such.so", FAKE } do
        name_driver(name)
        local message, code
        local text = calls.of({ fail = "dlopen" }, function()
          local builder
          builder, message, code = gdn.builder { device = "cuda" }
          assert(not builder)
        end)
        io.write(text, message, " ", code, "\n")
      end]]
    local want = {}
    for n, path in ipairs { "libcuda.so.1", "libcuda.so.1", "/no/such.so", drivers.fake } do
      want[n] = ("dlopen(%s, now, stays)\ngdnmeta.builder: no CUDA driver: %s -5\n"):format(path, path)
    end
    local said = text:gsub("\n(no CUDA)", "\ngdnmeta.builder: %1")
    assert.are.equal(table.concat(want), said)
  end)

  it("is none where it lacks one of its symbols, which is named", function()
    local text = run [[
      name_driver(FAKE)
      local whole = calls.of({}, function()
        local builder, message = gdn.builder { device = "cuda" }
        if builder then builder:close() else assert(message:find "without nvcc", message) end
      end)
      local symbols, n = {}, 0
      for symbol in whole:gmatch "dlsym%((.-)%)" do symbols[#symbols + 1] = symbol end
      for k, symbol in ipairs(symbols) do
        local message, code
        local text = calls.of({ fail = "dlsym", nth = k }, function()
          message, code = select(2, gdn.builder { device = "cuda" })
        end)
        assert(text:find("dlsym(" .. symbol .. ")\ndlclose()\n", 1, true), text)
        assert(select(2, text:gsub("dlsym", "")) == k and code == -5)
        assert(message:gsub("^gdnmeta.builder: ", "") == ("the CUDA driver %s has no %s, want CUDA 12.1 "
          .. "(driver 530) or later"):format(FAKE, symbol), message)
        n = n + 1
      end
      print(n == #symbols and n > 20, whole:find "dlclose" == nil)]]
    assert.are.equal("true\ttrue\n", text)
  end)

  it("is asked whose a pool is if it is loaded, and looked for again where something was loaded", function()
    local text = run [[
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_slots = 8 })
      local batch, pool = assert(builder:batch()), ffi.new "uint8_t[64]"
      batch:add { query_len = 1, seq_len = 9, blocks = { 3 }, prompt_done = true }
      assert(builder:build(batch))
      local function bring(title, how)
        local text = calls.of(how, function()
          assert(builder:bring_states { pool = pool, slot_bytes = 8 })
        end)
        print((title .. ": " .. text:gsub("%s+$", ""):gsub("\n", " ")))
      end
      local function refused(memory)
        local ok, message = pcall(builder.bring_states, builder, { pool = memory, slot_bytes = 8 })
        print(ok, (tostring(message):gsub("^.-: ", ""):gsub("0x%x+", "AT")))
      end
      name_driver(false)
      bring "at first"
      bring "again"
      name_driver ""
      bring "empty"
      name_driver "/no/such.so"
      bring "other"
      bring "other again"
      name_driver "/no/such.sp"
      bring "of another end"
      local asked = 0
      for last = ("a"):byte(), ("z"):byte() do
        name_driver("/no/other." .. string.char(last))
        local text = calls.of(nil, function() builder:bring_states { pool = pool, slot_bytes = 8 } end)
        if text:find("/no/other." .. string.char(last), 1, true) then asked = asked + 1 end
      end
      print("each of: " .. asked)
      name_driver(FAKE)
      bring "not loaded"
      bring "not loaded again"
      local driver = ffi.load(FAKE)
      bring "loaded"
      bring "loaded again"
      bring("loaded, without a symbol", { fail = "dlsym" })
      name_driver "/no/such.so"
      bring "other again"]]
    local fake = drivers.fake
    local found = ("dlopen(%s, lazy, if it is loaded) dlsym(cuPointerGetAttribute) dlclose()"):format(fake)
    local function none(path) return ("dlopen(%s, lazy, if it is loaded)"):format(path) end
    local lines = {}
    for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
    -- A machine that has a driver may have loaded it.
    if not lines[1]:find "dlclose" then
      assert.are.equal("at first: " .. none "libcuda.so.1", lines[1])
      assert.are.equal("again: ", lines[2])
      assert.are.equal("empty: ", lines[3])
    end
    assert.are.same({ "other: " .. none "/no/such.so", "other again: ",
                      "of another end: " .. none "/no/such.sp", "each of: 26", "not loaded: " .. none(fake),
                      "not loaded again: ", "loaded: " .. found, "loaded again: " .. found,
                      "loaded, without a symbol: " .. found, "other again: " .. none "/no/such.so" },
      { unpack(lines, 4) })
  end)
end)
