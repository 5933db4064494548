-- Programs of a checkout from any folder: bin/gdnmeta through links, and scripts/env in every shell there is.
local shell = require "spec.support.shell"

local quote = shell.quote
local SAID = "gdnmeta " .. require "gdnmeta.native.version" .. "\n"

describe("A checkout", function()
  local root, tree
  setup(function()
    root = shell.folder()
    tree = root .. "/check out"
    shell.output(("mkdir -p %s/build && cp -r bin lua scripts %s && cp build/libgdnmeta.so %s/build"):format(
      quote(tree), quote(tree), quote(tree)))
  end)
  teardown(function() shell.output("rm -r " .. quote(root)) end)

  local function at(folder, command)
    return shell.output(("cd %s && unset LUA_PATH LUA_CPATH && %s"):format(quote(folder), command))
  end

  it("has a program that finds its modules through links, whatever the folder #system", function()
    shell.output(("cd %s && mkdir links && ln -s '../check out/bin/gdnmeta' links/relative && "
      .. "ln -s \"$PWD/links/relative\" absolute && ln -s 'check out' tree"):format(
      quote(root)))
    for _, case in ipairs {
      { root, "'check out/bin/gdnmeta'" }, { tree .. "/bin", "./gdnmeta" }, { tree, "luajit bin/gdnmeta" },
      { tree .. "/bin", "luajit gdnmeta" }, { root, "links/relative" }, { root .. "/links", "./relative" },
      { root, "./absolute" }, { "/", quote(root .. "/absolute") }, { root, "tree/bin/gdnmeta" },
      { "/", ("env PATH=%s:\"$PATH\" absolute"):format(quote(root)) }, { root, "luajit links/relative" },
    } do
      assert.are.equal(SAID, at(case[1], case[2] .. " --version"), case[2])
    end
    local run = quote(root .. "/absolute") .. " simulate --workload requests=2 --quiet"
    assert.matches("^workload ", at("/", run))
    local doctor = at("/", quote(root .. "/absolute") .. " doctor")
    assert.is_truthy(doctor:find(tree .. "/build/libgdnmeta.so", 1, true), doctor)
  end)

  it("has nothing beside its folders that nobody reads", function()
    if not shell.has "git" or not io.open ".git" then return pending("no repository") end
    local of_root = {}
    for name in ([[.busted .clang-format .gitignore .luacheckrc CHANGELOG.md LICENSE Makefile README.md
                   config.ld]]):gmatch "%S+" do of_root[name] = true end
    for name in shell.output("git ls-files"):gmatch "[^\n]+" do
      if not name:find "/" and not name:find "%.rockspec$" then assert.is_true(of_root[name], name) end
    end
  end)

  local SHELLS = { "sh", "dash", "bash", "zsh", "zsh --emulate sh", "busybox sh", "mksh", "ksh93" }
  for _, name in ipairs(SHELLS) do
    local program = name:match "^%S+"
    it("has a scripts/env for " .. name, function()
      if not shell.has(program) then return pending("there is no " .. program) end
      for _, case in ipairs { { tree, "scripts/env" }, { tree .. "/lua", "../scripts/env" },
                              { "/", tree .. "/scripts/env" }, { root, "./check out/scripts/env" } } do
        for _, form in ipairs { ". %s; gdnmeta --version", "(. %s; gdnmeta --version)",
                                "x=$(. %s; gdnmeta --version); echo \"$x\"" } do
          local script = form:format('"' .. case[2] .. '"')
          assert.are.equal(SAID, at(case[1], ("%s -euc %s"):format(name, quote(script))), script)
        end
      end
      local modules = quote '. "./check out/scripts/env"; luajit -e "print(require([[gdnmeta]])._VERSION)"'
      assert.are.equal(SAID, "gdnmeta " .. at(root, name .. " -euc " .. modules))
    end)
  end
end)
