-- What becomes of a command's output: on a disk that is full, on a stdout that is closed, and where the path
-- is more than a plain file.
local programs = require "spec.support.program"

local SMALL = "simulate --quiet --workload requests=20,rate=6 "
-- Writing past 512 bytes of a file fails, as on a full disk, instead of ending the program.
local FULL = "trap '' XFSZ; ulimit -f 1;"

describe("The output of gdnmeta #lua", function()
  local program, gdnmeta, folder
  setup(function()
    program = programs.new()
    gdnmeta, folder = program.run, program.folder
  end)
  teardown(function() program.close() end)

  local function shell(command) return os.execute((command:gsub("FOLDER", folder))) end

  it("fails on a full disk, on stdout", function()
    local _, err, status = gdnmeta(SMALL, FULL)
    assert.are.same({ "gdnmeta: stdout: File too large\n", 2 }, { err, status })
    _, err, status = gdnmeta(SMALL .. "--json -", FULL)
    assert.are.same({ "gdnmeta: stdout: File too large\n", 2 }, { err, status })
  end)

  it("fails on a full disk, in a file, and leaves what was there", function()
    program.write("old.csv", "old")
    local out, err, status = gdnmeta(SMALL .. "--csv " .. folder .. "/old.csv", FULL)
    assert.are.same({ "", "gdnmeta: " .. folder .. "/old.csv: File too large\n", 2 }, { out, err, status })
    assert.are.equal("old", program.read "old.csv")
    assert.are_not.equal(0, shell "test -e FOLDER/old.csv.part")
  end)

  it("fails on a closed stdout", function()
    local closed = "exec 3>&1 >&-; bin/gdnmeta %s 2>%s/err; echo $? >&3"
    for _, command in ipairs { SMALL, "doctor" } do
      local pipe = io.popen("unset LD_PRELOAD GDNMETA_LIB; " .. closed:format(command, folder))
      assert.are.equal("2\n", pipe:read "*a")
      pipe:close()
      assert.matches("^gdnmeta: stdout: [^\n]+\n$", program.read "err") -- the reason is the system's
    end
  end)

  it("replaces a file, and leaves nothing beside it", function()
    program.write("a.json", "old")
    local _, err, status = gdnmeta(SMALL .. "--json " .. folder .. "/a.json")
    assert.are.same({ "", 0 }, { err, status })
    assert.matches('^{"', program.read "a.json")
    assert.are_not.equal(0, shell "test -e FOLDER/a.json.part")
  end)

  it("goes through links, to a file and to none yet", function()
    program.write("target", "old")
    assert(shell "cd FOLDER && ln -s target link && ln -s later dangling" == 0)
    for link, target in pairs { link = "target", dangling = "later" } do
      local _, err, status = gdnmeta(SMALL .. "--json " .. folder .. "/" .. link)
      assert.are.same({ "", 0 }, { err, status })
      assert.are.equal(0, shell("test -L FOLDER/" .. link))
      assert.matches('^{"', program.read(target))
    end
  end)

  it("goes through a pipe", function()
    assert(shell "mkfifo FOLDER/pipe && (timeout 60 cat FOLDER/pipe >FOLDER/read; echo >FOLDER/done) &" == 0)
    local _, err, status = gdnmeta(SMALL .. "--json " .. folder .. "/pipe", "timeout 60")
    assert.are.same({ "", 0 }, { err, status })
    assert(shell "timeout 60 sh -c 'until test -e FOLDER/done; do sleep 0.05; done'" == 0)
    assert.are.equal(0, shell "test -p FOLDER/pipe")
    assert.matches('^{".*}\n$', program.read "read")
  end)

  it("is refused beforehand where the path is a folder", function()
    local out, err, status = gdnmeta(SMALL .. "--json " .. folder)
    assert.are.same({ "",
      "gdnmeta: " .. folder .. ": cannot be written, want the path of a file\n", 2 }, { out, err, status })
  end)
end)
