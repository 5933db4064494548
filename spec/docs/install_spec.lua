-- `make install` and `make uninstall`, and what luarocks is told of them. scripts/rock runs luarocks.
local blocks = require "spec.support.blocks"
local shell = require "spec.support.shell"

local version = require "gdnmeta.native.version"
local SONAME = ("libgdnmeta.so.%d"):format(tonumber(require("gdnmeta.native").GDN_ABI))
local MAKE = "make --no-print-directory "

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

-- Files and links below a folder, as `find` names them.
local function files(folder, what)
  return lines(shell.output(("cd %s && find . '(' -type f -o -type l ')' %s | sort"):format(
    shell.quote(folder), what or "")))
end

describe("rockspecs #system", function()
  for _, path in ipairs { "gdnmeta-scm-1.rockspec", ("gdnmeta-%s-1.rockspec"):format(version) } do
    it("pass luarocks lint: " .. path, function()
      assert.are.same({ 0, "" }, { shell.run("luarocks --lua-version 5.1 lint " .. path) })
    end)
  end

  it("hand the Makefile variables and targets that it has", function()
    local env, makefile = {}, blocks.read "Makefile"
    setfenv(assert(loadfile "gdnmeta-scm-1.rockspec"), env)()
    for _, variables in ipairs { env.build.build_variables, env.build.install_variables } do
      for name in pairs(variables) do
        assert.is_truthy(makefile:find("$(" .. name .. ")", 1, true)
          or makefile:find("\nPLACES :=[^\n]* " .. name .. "%f[%W]"), name .. " is not read")
      end
    end
    for _, target in ipairs { env.build.build_target, env.build.install_target } do
      assert.is_truthy(makefile:find("\n" .. target .. ":", 1, true), target .. " is no target")
    end
  end)
end)

describe("make install #system", function()
  local root, prefix
  setup(function()
    root = shell.folder()
    prefix = root .. "/pre fix"
    assert.are.equal("", shell.output(MAKE .. "install PREFIX=" .. shell.quote(prefix)))
  end)
  teardown(function() shell.output("rm -rf " .. shell.quote(root)) end)

  it("puts every module, the library, the header, gdnmeta.pc and the program below PREFIX", function()
    local want = {}
    for _, path in ipairs(lines(shell.output "cd lua && find gdnmeta -name '*.lua'")) do
      want[#want + 1] = "./share/lua/5.1/" .. path
    end
    for _, path in ipairs { "bin/gdnmeta", "include/gdnmeta.h", "include/gdnmeta_scheduler.h",
                            "include/gdnmeta_prefix_index.h", "include/gdnmeta_worker.h",
                            "lib/libgdnmeta.so", "lib/" .. SONAME,
                            "lib/lua/5.1/libgdnmeta.so", "lib/pkgconfig/gdnmeta.pc" } do
      want[#want + 1] = "./" .. path
    end
    table.sort(want)
    local got = files(prefix)
    table.sort(got)
    assert.are.same(want, got)
    assert.is_truthy(shell.output(("cd %s && readlink lib/libgdnmeta.so lib/lua/5.1/libgdnmeta.so"):format(
      shell.quote(prefix))) == SONAME .. "\n../../" .. SONAME .. "\n")
  end)

  it("gives a program and modules that need nothing else", function()
    local run = ("cd %s && unset LUA_PATH LUA_CPATH && "):format(shell.quote(root))
    assert.are.equal("gdnmeta " .. version .. "\n", shell.output(run .. "'pre fix/bin/gdnmeta' --version"))
    local build = [[
      local gdn = require "gdnmeta"
      local builder = assert(gdn.builder { max_num_seqs = 4, max_num_batched_tokens = 64 })
      local batch = assert(builder:batch())
      batch:add { query_len = 3, seq_len = 3, blocks = { 1 } }
      print(assert(builder:build(batch)).num_prefill_tokens)]]
    local paths = ('LUA_PATH="%s/share/lua/5.1/?.lua;%s/share/lua/5.1/?/init.lua;;" '
      .. 'LUA_CPATH="%s/lib/lua/5.1/?.so;;" '):format(prefix, prefix, prefix)
    assert.are.equal("3\n", shell.output(run .. paths .. "luajit -e " .. shell.quote(build)))
    local doctor = select(2, shell.run(run .. "'pre fix/bin/gdnmeta' doctor"))
    assert.is_truthy(doctor:find(prefix .. "/lib/" .. SONAME, 1, true), doctor)
  end)

  it("lets pkg-config compile a C host", function()
    if not shell.has "pkg-config" then return pending "there is no pkg-config" end
    local pc = ("export PKG_CONFIG_PATH=%s; "):format(shell.quote(prefix .. "/lib/pkgconfig"))
    assert.are.equal(version .. "\n", shell.output(pc .. "pkg-config --modversion gdnmeta"))
    local program, out = shell.quote(root .. "/embed"), shell.quote(prefix .. "/lib")
    assert.are.equal("", shell.output(pc .. "eval cc -std=c11 examples/embed.c -o \"" .. program
      .. "\" $(pkg-config --cflags --libs gdnmeta)"))
    assert.matches("^decodes 1, prefills 1\n", shell.output(("LD_LIBRARY_PATH=%s %s"):format(out, program)))
  end)

  it("leaves no module of another version, and touches no other files", function()
    local folder = shell.quote(prefix .. "/share/lua/5.1/gdnmeta")
    shell.output(("mkdir %s/gone && touch %s/gone/old.lua %s/notes.txt"):format(folder, folder, folder))
    shell.output(MAKE .. "install PREFIX=" .. shell.quote(prefix))
    assert.are.same({}, files(prefix, "-name old.lua"))
    assert.are.same({ "./share/lua/5.1/gdnmeta/notes.txt" }, files(prefix, "-name notes.txt"))
    shell.output(("rm %s/notes.txt"):format(folder))
  end)

  it("takes DESTDIR for /, which no file then names; uninstall removes all again", function()
    local dest = root .. "/dest dir"
    local where = ("DESTDIR=%s PREFIX=/opt/gdn"):format(shell.quote(dest))
    shell.output(MAKE .. "install " .. where)
    assert.are.same(files(prefix), files(dest .. "/opt/gdn"))
    assert.are.equal("", shell.output(("grep -rlF %s %s || :"):format(shell.quote(dest), shell.quote(dest))))
    local pc = blocks.read(dest .. "/opt/gdn/lib/pkgconfig/gdnmeta.pc")
    assert.matches("^prefix=/opt/gdn\nlibdir=${prefix}/lib\nincludedir=${prefix}/include\n", pc)
    assert.are.equal("", shell.output(MAKE .. "uninstall " .. where))
    assert.are.same({}, files(dest))
  end)
end)
