-- What luarocks is told, and what `make install` puts where it says. scripts/rock does the whole.
local function rockspec()
  local chunk = assert(loadfile "gdnmeta-scm-1.rockspec")
  local env = {}
  setfenv(chunk, env)()
  return env
end

-- Tools must not be watched by the checker that watches this process.
local function sh(command)
  local pipe = assert(io.popen("env -u LD_PRELOAD sh -c '" .. command .. "' 2>&1; echo rc $?"))
  local text = pipe:read "*a"
  pipe:close()
  local output, rc = text:match "^(.-)rc (%d+)\n$"
  return tonumber(rc), output
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

describe("the rock #system", function()
  it("passes luarocks lint", function()
    assert.are.same({ 0, "" }, { sh "luarocks --lua-version 5.1 lint gdnmeta-scm-1.rockspec" })
  end)

  it("hands the Makefile the variables that it reads", function()
    local file = assert(io.open "Makefile")
    local makefile = file:read "*a"
    file:close()
    local build = rockspec().build
    for _, variables in ipairs { build.build_variables, build.install_variables } do
      for name in pairs(variables) do
        assert.is_truthy(makefile:find("$(" .. name .. ")", 1, true), name .. " is not read")
      end
    end
    for _, target in ipairs { build.build_target, build.install_target } do
      assert.is_truthy(makefile:find("\n" .. target .. ":", 1, true), target .. " is no target")
    end
  end)

  describe("installed", function()
    local root
    setup(function()
      local rc
      rc, root = sh "mktemp -d"
      assert.are.equal(0, rc)
      root = root:gsub("\n", "")
      local output
      rc, output = sh(("make install LUADIR=%s/lua LIBDIR=%s/lib"):format(root, root))
      assert.are.same({ 0, "" }, { rc, output })
    end)
    teardown(function() sh("rm -rf " .. root) end)

    it("has every module and the library, and nothing else", function()
      local _, want = sh "cd lua && find gdnmeta -name \"*.lua\" | sort"
      local _, got = sh(("cd %s/lua && find . -type f | sed s,^./,, | sort"):format(root))
      assert.are.same(lines(want), lines(got))
      assert.is_truthy(got:find("gdnmeta/cdef.lua", 1, true))
      local _, libraries = sh(("cd %s/lib && find . -type f"):format(root))
      assert.are.same({ "./libgdnmeta.so" }, lines(libraries))
    end)

    it("can be required from a folder that has nothing", function()
      local rc, output = sh(([[cd %s && env -u GDNMETA_LIB LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" ]]
        .. [[LUA_CPATH="./lib/?.so;;" luajit -e "print(require(\"gdnmeta\")._VERSION)"]]):format(root))
      assert.are.equal(0, rc, output)
      assert.matches("^%d+%.%d+%.%d+\n$", output)
    end)
  end)

  it("is not installed without being told where", function()
    local rc, output = sh "make install"
    assert.are_not.equal(0, rc)
    assert.is_truthy(output:find("make install wants LUADIR", 1, true), output)
  end)
end)
