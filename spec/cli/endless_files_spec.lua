-- A file without an end is refused by name, wherever one is read, before it fills memory.
local program = require("spec.support.program").new()

local WITHIN = "ulimit -v 1500000; timeout 20" -- KiB: what was read without bound ran out of them

local CASES = {
  ["simulate --policy"] = "policy /dev/zero: longer than the 4194304 bytes that it may have",
  ["simulate --workload agents --cache"] = "cache /dev/zero: longer than the 4194304 bytes that it may have",
  ["simulate --slots-only --workload agents,sessions=2 --cache"] =
    "cache /dev/zero: longer than the 4194304 bytes that it may have",
  ["sweep --policy"] = "policy /dev/zero: longer than the 4194304 bytes that it may have",
  ["simulate --calibrate"] = "--calibrate: /dev/zero: longer than the 268435456 bytes that it may have",
  ["merge"] = "/dev/zero: longer than the 268435456 bytes that it may have",
  ["simulate --trace"] = "/dev/zero:1: a line of more than 16777216 bytes",
  ["inspect"] = "/dev/zero:1: longer than the 4194304 bytes that a line may have",
  ["replay"] = "/dev/zero:1: longer than the 4194304 bytes that a line may have",
}

describe("A file without an end", function()
  teardown(program.close)

  for command, message in pairs(CASES) do
    it("is refused by gdnmeta " .. command, function()
      local out, err, status = program.run(command .. " /dev/zero", WITHIN)
      assert.are.same({ "", "gdnmeta: " .. message .. "\n", 2 }, { out, err, status })
    end)
  end

  it("is one beyond the longest", function()
    local read_file = require "gdnmeta.native.read_file"
    local path = program.write("some.txt", ("x"):rep(200000))
    assert.are.equal(200000, #read_file(path, 200000))
    assert.are.same({ nil, path .. ": longer than the 199999 bytes that it may have" },
                    { read_file(path, 199999) })
  end)
end)
