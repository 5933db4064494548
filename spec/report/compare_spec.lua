-- The comparer that the oracle specs stand on must see every field, or they would pass on nothing.
local compare = require "spec.support.compare"
local pretend = require "spec.support.oracle_metadata"

describe("compare.everything #lua", function()
  local function record()
    return { num_prefills = 0, spec_query_start_loc = { dtype = "int32", shape = { 1 }, data = { 0 } } }
  end
  local group = { spec_state_indices_tensor = { dtype = "int32", shape = { 0, 2 }, data = {} } }

  it("accepts what is equal", function()
    assert.is_nil(compare.everything(record(), { group }, pretend.metadata(record(), { group })))
  end)

  it("reports a field that is there though the record has none", function()
    local extra = record()
    extra.has_initial_state = { dtype = "bool", shape = { 0 }, data = {} }
    assert.are.equal("has_initial_state: want null, got a tensor",
      compare.everything(record(), { group }, pretend.metadata(extra, { group })))
  end)

  it("reports the group", function()
    local other = { spec_state_indices_tensor = { dtype = "int32", shape = { 0, 3 }, data = {} } }
    assert.are.equal("group 1: spec_state_indices_tensor: want shape [0, 2], got [0, 3]",
      compare.everything(record(), { group, group }, pretend.metadata(record(), { group, other })))
  end)

  it("knows every field that a metadata object has", function()
    local known = { nums_dict = true }
    for _, list in ipairs { compare.SCALARS, compare.TENSORS, compare.STATE } do
      for _, name in ipairs(list) do known[name] = true end
    end
    local header = assert(io.open "src/gdnmeta.h"):read "*a"
    local body = header:match "typedef struct gdn_metadata {(.-)} gdn_metadata;"
    local fields = 0
    for kind, names in body:gsub("/%*.-%*/", ""):gmatch "([%w_]+) ([%w_, ]+);" do
      for name in names:gmatch "[%w_]+" do
        if kind == "gdn_tensor" or kind == "int32_t" then
          fields = fields + 1
          assert.is_true(known[name], name)
        end
      end
    end
    assert.are.equal(#compare.SCALARS + #compare.TENSORS + #compare.STATE, fields)
  end)
end)
