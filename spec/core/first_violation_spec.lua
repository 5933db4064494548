-- Of several violations a check keeps the first, whatever kind it and later ones are, until it is forgotten;
-- and it says the step that it was found in.
local drivers = require "spec.support.driver"
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"

-- What goes wrong in a step, by kind: a tensor that is longer than the counts say, or an element.
local WRONGS = {
  shape = function(meta) return meta.non_spec_state_indices_tensor.shape, 0, 3 end,
  other_shape = function(meta) return meta.non_spec_read_state_indices.shape, 0, 9 end,
  element = function(meta) return ffi.cast("int32_t *", meta.non_spec_query_start_loc.data), 1, 7 end,
}
local SAYS = {
  shape = "step %d: non_spec_state_indices_tensor is longer or shorter than the step's counts say",
  other_shape = "step %d: non_spec_read_state_indices is longer or shorter than the step's counts say",
  element = "step %d: non_spec_query_start_loc[1] is no boundary that the rows around it, their class and "
    .. "its tokens allow",
}

local function play(device, first, second)
  local builder = assert(gdn.builder { device = device, max_num_seqs = 4, max_num_batched_tokens = 32,
                                       check = true })
  local batch = assert(builder:batch())
  for row = 0, 1 do
    assert(batch:push(row, 1, 9, true))
    builder:set_blocks(0, row, { 3 + row })
  end
  local meta = ffi.cast("gdn_metadata *", lib.gdn_builder_metadata(builder.handle))
  local violation = ffi.new "gdn_violation"
  local function result(forget)
    local status = tonumber(lib.gdn_check_result(builder.handle, forget, violation))
    return status, status ~= 0 and ffi.string(lib.gdn_last_error(builder.handle)) or nil
  end
  -- Steps go on, and each kind is wrong in one of them, three steps apart.
  local number = 0
  local function step(kind)
    assert(builder:build(batch))
    number = number + 1
    local at, i, value
    if kind then at, i, value = WRONGS[kind](meta) end
    local was = kind and at[i]
    if kind then at[i] = value end
    assert.are.equal(0, tonumber(lib.gdn_check(builder.handle, nil)))
    if kind then at[i] = was end
  end
  local where = ("%s, %s, then %s"):format(device, first, second)
  step()
  assert.are.equal(0, (result(0)), where)
  step(first)
  for _, later in ipairs { false, second, false } do
    assert.are.same({ -1, SAYS[first]:format(2) }, { result(0) }, where)
    assert.are.equal(2, tonumber(violation.step))
    step(later or nil)
  end
  assert.are.same({ -1, SAYS[first]:format(2) }, { result(1) }, where)
  assert.are.equal(0, (result(1)), where)
  step(second)
  assert.are.same({ -1, SAYS[second]:format(6) }, { result(1) }, where)
  step()
  assert.are.equal(0, (result(0)), where)
  batch:close()
  builder:close()
end

describe("The first violation", function()
  it("is kept, of a shape or of an element", function()
    for first in pairs(WRONGS) do
      for second in pairs(WRONGS) do play("cpu", first, second) end
    end
  end)

  it("is kept also where a device finds the rest", function()
    local driver = drivers.open "fake"
    for _, first in ipairs { "shape", "other_shape" } do
      for _, second in ipairs { "shape", "other_shape" } do play("cuda", first, second) end
    end
    driver:close()
  end)
end)
