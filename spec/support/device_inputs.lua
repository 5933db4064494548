-- A CUDA builder for eight requests, its batch, and arrays on its device.
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

local function open(options)
  local all = { device = "cuda", max_num_seqs = 8, num_speculative_tokens = 2, num_slots = 100,
    max_num_batched_tokens = 512 }
  for name, value in pairs(options or {}) do all[name] = value end
  local builder = assert(gdn.builder(all))
  return builder, assert(builder:batch())
end

-- Memory of the device with these values, and how many they are.
local function array(driver, values)
  local memory = driver:int32(#values)
  driver:write(memory, values)
  return memory, #values
end

-- Build rows: { query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column }, and `at`, what
-- batch:index takes.
local function build(builder, batch, ...)
  batch:clear()
  for _, row in ipairs { ... } do
    local query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column = unpack(row, 1, 7)
    assert(batch:push(table_row, query_len, seq_len, prompt_done, drafts, accepted, read_column))
    if row.at then batch:index(batch.num_rows - 1, row.at[1], row.at[2]) end
  end
  return builder:build(batch)
end

--- For all `it` of a describe one driver, and for each a builder and a batch.
---@param b table of busted: setup, teardown, after_each
---@return table rig kind, driver, builder, batch; functions open(options), array(values), build(row, ...)
return function(b)
  local rig = { kind = os.getenv "GDN_CUDA_SPECS" or "fake" }
  b.setup(function() rig.driver = drivers.open(rig.kind) end)
  b.teardown(function() rig.driver:close() end)
  b.after_each(function()
    if rig.batch then rig.batch:close() end
    rig.builder:close()
    rig.builder, rig.batch = nil, nil
    rig.driver:free_all()
  end)
  function rig.open(options) rig.builder, rig.batch = open(options) end
  function rig.array(values) return array(rig.driver, values) end
  function rig.build(...) return build(rig.builder, rig.batch, ...) end
  return rig
end
