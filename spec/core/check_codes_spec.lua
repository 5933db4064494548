-- What a check says of each element that is another, in steps of every kind: the code and where, against
-- spec/goldens/texts. check_spec asks of random steps whether anything is said.
local ffi = require "ffi"
local compare = require "spec.support.compare"
local golden = require "spec.support.golden"
local lib = require "gdnmeta.native"
local steps = require "spec.support.checked_steps"

local SHAPE = " is longer or shorter than the step's counts say"

-- Those that groups have, too.
local TENSORS = {}
for _, list in ipairs { compare.TENSORS, compare.STATE } do
  for _, name in ipairs(list) do TENSORS[#TENSORS + 1] = name end
end

-- What is said of each step, by what `flip` changes in it.
local function check(name, flip)
  local lines = {}
  for _, step in ipairs(steps.STEPS) do
    local builder, batch = steps.build(step, "cpu")
    lines[#lines + 1] = "== " .. step[1]
    flip(builder, lines)
    batch:close()
    builder:close()
  end
  golden(name, table.concat(lines, "\n") .. "\n")
end

describe("A check", function()
  it("says this of each element", function()
    check("check-codes", steps.flip_all)
  end)

  it("says this of two elements", function()
    check("check-pairs", steps.flip_pairs)
  end)

  it("says this of each tensor that has another shape, or is not there", function()
    local lines = {}
    for _, step in ipairs(steps.STEPS) do
      local builder, batch = steps.build(step, "cpu")
      lines[#lines + 1] = "== " .. step[1]
      local meta, violation = lib.gdn_builder_metadata(builder.handle), ffi.new "gdn_violation"
      for _, name in ipairs(TENSORS) do
        local tensor = ffi.cast("gdn_tensor *", meta[name])
        local said = {}
        local function try(what, at, field, value)
          local was = at[field]
          at[field] = value
          assert(lib.gdn_check(builder.handle, nil) == 0)
          local status = lib.gdn_check_result(builder.handle, 1, violation)
          local text = status == 0 and "-" or ffi.string(lib.gdn_last_error(builder.handle))
          said[#said + 1] = what .. (text == "step 1: " .. name .. SHAPE and "" or ": " .. text)
          at[field] = was
        end
        if tensor.data ~= nil then
          try("longer", tensor.shape, 0, tensor.shape[0] + 1)
          try("shorter", tensor.shape, 0, tensor.shape[0] - 1)
          try("wider", tensor.shape, 1, tensor.shape[1] + 1)
          try("none", tensor, "data", nil)
        end
        if #said > 0 then lines[#lines + 1] = name .. ": " .. table.concat(said, ", ") end
      end
      assert(builder:peek_check_result())
      batch:close()
      builder:close()
    end
    golden("check-shapes", table.concat(lines, "\n") .. "\n")
  end)
end)
