-- One version, which the header states: the build, the packages and the programs are compared with it.
local lib = require "gdnmeta.native"
local blocks = require "spec.support.blocks"
local shell = require "spec.support.shell"

local function version_of_header()
  local parts = {}
  for number in blocks.read "src/gdnmeta.h":gmatch "\n#define GDN_VERSION_%u+ (%d+)" do
    parts[#parts + 1] = number
  end
  assert(#parts == 3, "want a major, a minor and a patch number")
  return table.concat(parts, ".")
end

local function rockspec(path)
  local env = {}
  setfenv(assert(loadfile(path)), env)()
  return env
end

describe("The version", function()
  local version, abi = version_of_header(), tonumber(lib.GDN_ABI)

  it("is the same in the library, in Lua, on the command line and in Python", function()
    assert.are.equal(version, require("ffi").string(lib.gdn_version()))
    assert.are.equal(version, require "gdnmeta.native.version")
    assert.are.same({ 0, "gdnmeta " .. version .. "\n" }, { shell.run "bin/gdnmeta --version" })
    if shell.has "python3" then
      local code = "import runpy; print(runpy.run_path('examples/pytorch/gdnmeta/_abi.py')['__version__'])"
      assert.are.same({ 0, version .. "\n" }, { shell.run("python3 -c " .. shell.quote(code)) })
    end
  end)

  it("has a rockspec for its tag, otherwise that of the head, and a section of the changelog", function()
    local head, tag = rockspec "gdnmeta-scm-1.rockspec", rockspec(("gdnmeta-%s-1.rockspec"):format(version))
    assert.are.equal(version .. "-1", tag.version)
    assert.are.equal("v" .. version, tag.source.tag)
    assert.are.equal(head.source.url, tag.source.url)
    head.version, head.source, tag.version, tag.source = nil, nil, nil, nil
    assert.are.same(head, tag)
    assert.is_truthy(blocks.read "CHANGELOG.md":find("\n## " .. version, 1, true))
  end)

  it("is written nowhere else", function()
    local listed = "grep -rlF %s --exclude=version.lua src lua bin scripts examples docs bench README.md "
      .. "Makefile CHANGELOG.md *.rockspec | sort"
    local _, found = shell.run(listed:format(version))
    assert.are.equal(("CHANGELOG.md\ngdnmeta-%s-1.rockspec\n"):format(version), found)
  end)

  it("stands beside the ABI, which the SONAME ends in", function()
    local soname = ("libgdnmeta.so.%d"):format(abi)
    local _, dynamic = shell.run "readelf -d build/libgdnmeta.so"
    assert.is_truthy(dynamic:find("soname: [" .. soname .. "]", 1, true), dynamic)
    local _, target = shell.run("readlink build/" .. soname)
    assert.are.equal("libgdnmeta.so\n", target)
  end)

  it("can be tested by a C host's preprocessor", function()
    local major, minor, patch = version:match "(%d+)%.(%d+)%.(%d+)"
    local source = '#include "src/gdnmeta.h"\n#if GDN_VERSION != %d\n#error another version\n#endif\n'
    source = source:format(major * 10000 + minor * 100 + patch)
    source = source .. "END"
    assert.are.same({ 0, "" }, { shell.run("cc -std=c11 -I. -fsyntax-only -x c - <<'END'\n" .. source) })
  end)
end)
