-- Finding the library, and what require "gdnmeta" gives.
local version = require "gdnmeta.native.version"

local function shell(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read "*a"
  pipe:close()
  return output
end

-- Runs Lua in a fresh VM. GDNMETA_LIB and LUA_CPATH are what the case says, nothing else.
local function fresh(environment, code)
  return shell(("env -u LD_PRELOAD -u GDNMETA_LIB LUA_CPATH=/nowhere/?.so %s luajit -e '%s'"):format(
    environment, code))
end

local function message(environment)
  return (fresh(environment, "print(select(2, pcall(require, [[gdnmeta]])))"):gsub("%s+$", ""))
end

describe("loading the library", function()
  local abi = tonumber(require("gdnmeta.native").GDN_ABI)
  local folder

  setup(function()
    folder = shell("mktemp -d"):gsub("%s", "")
    local file = assert(io.open(folder .. "/other.c", "w"))
    file:write "int gdn_abi(void) { return 99; }\n"
    file:close()
    local compile = "env -u LD_PRELOAD cc -shared -fPIC -o %s/%s %s"
    assert.are.equal("", shell(compile:format(folder, "libgdnmeta.so", folder .. "/other.c")))
    assert.are.equal("", shell(compile:format(folder, "libother.so", "-x c /dev/null")))
  end)

  teardown(function() shell("rm -r " .. folder) end)

  it("takes the one that package.cpath leads to", function()
    assert.are.equal(version .. "\n", fresh('LUA_CPATH="/nowhere/?.so;./build/?.so"',
                                      "print(require([[gdnmeta]])._VERSION)"))
  end)

  it("takes the one that GDNMETA_LIB names, and then no other", function()
    local named = ("GDNMETA_LIB=%s/libgdnmeta.so LUA_CPATH=./build/?.so"):format(folder)
    assert.are.equal(("gdnmeta: no usable libgdnmeta.so; tried\n  %s/libgdnmeta.so: has ABI 99, " ..
      "these bindings want %d"):format(folder, abi), message(named))
    assert.are.equal(version .. "\n", fresh("GDNMETA_LIB=./build/libgdnmeta.so",
                                      "print(require([[gdnmeta]])._VERSION)"))
  end)

  it("passes over a library of another ABI to the next", function()
    assert.are.equal(version .. "\n", fresh(('LUA_CPATH="%s/?.so;./build/?.so"'):format(folder),
                                      "print(require([[gdnmeta]])._VERSION)"))
  end)

  it("says what was tried when there is none", function()
    local text = message 'LUA_CPATH="/nowhere/?.so;/no/?/core.so;/fixed.so"'
    assert.matches("^gdnmeta: no usable libgdnmeta.so; tried\n", text)
    assert.matches("\n  /nowhere/libgdnmeta.so: cannot open shared object file", text, 1, true)
    assert.matches("\n  /no/libgdnmeta.so: cannot open shared object file", text, 1, true)
    assert.is_nil(text:find("fixed", 1, true))
  end)

  it("refuses a library that is not ours", function()
    assert.are.equal(("gdnmeta: no usable libgdnmeta.so; tried\n  %s/libother.so: not a gdnmeta library")
      :format(folder), message(("GDNMETA_LIB=%s/libother.so"):format(folder)))
  end)

  it("may happen again in one VM, as module reloaders do", function()
    assert.are.equal("ok\n", fresh("GDNMETA_LIB=./build/libgdnmeta.so", [[
      local first = require("gdnmeta")
      local old = first.builder { device = "cpu" }
      for name in pairs(package.loaded) do
        if name:find "^gdnmeta" then package.loaded[name] = nil end
      end
      local second = require("gdnmeta")
      assert(second ~= first)
      local builder = second.builder { device = "cpu" }
      assert(builder:build(builder:batch()).non_spec_query_start_loc[0] == 0)
      assert(old:build(old:batch()).non_spec_query_start_loc[0] == 0)
      print("ok")]]))
  end)
end)

describe('require "gdnmeta"', function()
  it("gives a table and touches no global", function()
    local before = {}
    for name in pairs(_G) do before[name] = true end
    for name in pairs(package.loaded) do
      if name:find "^gdnmeta" then package.loaded[name] = nil end
    end
    local gdn = require "gdnmeta"
    for name in pairs(_G) do assert.is_true(before[name], "new global " .. tostring(name)) end
    assert.are.equal(version, gdn._VERSION)
    assert.are.equal("function", type(gdn.builder))
    assert.are.equal("function", type(gdn.reorder))
  end)

  it("opens a module on first use, once", function()
    local gdn = require "gdnmeta"
    for _, name in ipairs { "engine", "policy", "sim" } do
      local module, opened = "gdnmeta." .. name, 0
      local kept, loaded, preload = rawget(gdn, name), package.loaded[module], package.preload[module]
      gdn[name], package.loaded[module] = nil, nil
      package.preload[module] = function()
        opened = opened + 1
        return { name }
      end
      local got = gdn[name]
      local inside = rawget(gdn, name)
      gdn[name], package.loaded[module], package.preload[module] = kept, loaded, preload
      assert.are.same({ name }, got)
      assert.are.equal(got, inside)
      assert.are.equal(1, opened)
    end
  end)

  it("names the codes that calls return", function()
    local gdn = require "gdnmeta"
    assert.are.same({ -1, -2, -3, -4, -5 }, { gdn.EINVAL, gdn.ENOMEM, gdn.ECAP, gdn.EGUARD, gdn.EDEVICE })
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 1 })
    local code = select(3, builder:batch():pad(2, 2))
    assert.is_true(code == gdn.ECAP, "codes are plain numbers")
    builder:close()
  end)

  it("has nothing under other names", function()
    local gdn = require "gdnmeta"
    for _, name in ipairs { "enigne", "native", 1 } do
      assert.is_false((pcall(function() return gdn[name] end)))
    end
  end)
end)
