-- What each thing of C's asks the allocator for, to the byte, and what is said where its first, second, ...
-- allocation finds no memory: against spec/goldens/texts. All of it is given back. Where a single allocation
-- finds none, and those behind it do, nothing is made, either.
local ffi = require "ffi"
require "gdnmeta"
local noted = require "spec.support.noted"
local drivers = require "spec.support.driver"

pcall(ffi.cdef, "int64_t gdn_counted_bytes(void);")
pcall(ffi.cdef, "void gdn_counted_fail(int64_t n);")
pcall(ffi.cdef, "void gdn_counted_fail_once(int64_t n);")
pcall(ffi.cdef, "int64_t gdn_counted_live(void);")

local lib = ffi.load(require("spec.support.counted_library").path)
local notes = noted.new "allocations-"
local note, check = notes.note, notes.check

local CONFIGS = {
  { "small", {} }, { "groups", { num_groups = 3, num_speculative_tokens = 3, max_rows = 40 } },
  { "checked", { check = 1, poison = 1 } }, { "unchecked slots", { check_unique = 0 } },
  { "graphs", { full_cuda_graph = 2, num_speculative_tokens = 1 } },
  { "align", { mamba_cache_mode = 1, mamba_block_size = 8, max_blocks_per_row = 9 } },
  { "large", { max_num_seqs = 300, max_num_batched_tokens = 5000, num_groups = 2 } },
  { "vllm-2026-04", { rules = 1, num_speculative_tokens = 2 } },
  { "vllm-2026-11", { rules = 3, mamba_cache_mode = 1, num_prefill_checkpoint_blocks = 1,
                      mamba_block_size = 64, max_blocks_per_row = 9 } },
}

local function config_of(fields)
  local config, slots = ffi.new "gdn_config", ffi.new("int32_t[3]", 90, 91, 92)
  lib.gdn_config_init(config)
  config.max_num_seqs, config.max_num_batched_tokens = 4, 64
  for name, value in pairs(fields) do config[name] = value end
  config.num_slots = slots
  return config, slots
end

-- make() with its n-th allocation and those behind it failing, until it needs fewer, and the bytes that it
-- takes then. make returns a status, what is said, and a function that frees what was made.
local function note_each(name, make)
  local first, last_said, live = 1, nil, tonumber(lib.gdn_counted_live())
  local function must_be_free()
    assert.are.same({ name, live }, { name, tonumber(lib.gdn_counted_live()) })
  end
  for n = 1, 99 do
    lib.gdn_counted_fail_once(n)
    local once = { make() }
    lib.gdn_counted_fail(n)
    local status, said, free = make()
    lib.gdn_counted_fail(0)
    if status ~= 0 then assert.are.same({ name, n, status, said }, { name, n, once[1], once[2] }) end
    if once[1] == 0 then once[3]() end
    said = ("%d %s"):format(status, status == 0 and "made" or said)
    if status ~= 0 then must_be_free() end
    if last_said and said ~= last_said then
      note(name, ("%d .. %d: %s"):format(first, n - 1, last_said))
      first = n
    end
    last_said = said
    if status == 0 then
      free()
      lib.gdn_counted_bytes()
      free = select(3, make())
      note(name, ("%d: %s, %d bytes"):format(n, said, tonumber(lib.gdn_counted_bytes())))
      free()
      must_be_free()
      return
    end
  end
end

local why = ffi.new "char[300]"
local function builder_of(fields)
  local out, config, slots = ffi.new "gdn_builder *[1]", config_of(fields)
  ffi.fill(why, 300)
  local status = tonumber(lib.gdn_builder_new(config, out, why, 300))
  return status, ffi.string(why), out[0], slots
end

describe("An allocation that fails", function()
  before_each(notes.clear)

  it("refuses a builder, a batch and blocks", function()
    local driver = drivers.open "fake"
    for _, c in ipairs(CONFIGS) do
      for device = -1, 0 do
        local fields = { device = device }
        for name, value in pairs(c[2]) do fields[name] = value end
        note_each(c[1] .. (device < 0 and ", CPU" or ", CUDA"), function()
          local status, said, b = builder_of(fields)
          return status, said, function() lib.gdn_builder_free(b) end
        end)
      end
      local _, _, b = builder_of(c[2])
      note_each(c[1] .. ", a batch", function()
        local out = ffi.new "gdn_batch *[1]"
        local status = tonumber(lib.gdn_batch_new(b, out))
        return status, "", function() lib.gdn_batch_free(out[0]) end
      end)
      for _, k in ipairs { { 8, 4, 3, 2, 1 }, { 9, 1, 1, 1, 4 } } do
        note_each(c[1] .. ", blocks", function()
          local out = ffi.new "gdn_kv *[1]"
          local status = tonumber(lib.gdn_kv_new(b, ffi.new("gdn_kv_config", unpack(k)), out))
          return status, ffi.string(lib.gdn_last_error(b)), function() lib.gdn_kv_free(out[0]) end
        end)
      end
      lib.gdn_builder_free(b)
    end
    driver:close()
    check "builders"
  end)

  it("refuses pools of slots, queues, and an index", function()
    for groups = 1, 3 do
      note_each("slots of " .. groups, function()
        local out = ffi.new "gdn_slots *[1]"
        local status = tonumber(lib.gdn_slots_new(groups, ffi.new("int32_t[3]", 1, 5, 90), out))
        return status, "", function() lib.gdn_slots_free(out[0]) end
      end)
    end
    for _, n in ipairs { 0, 1, 2, 63, 64, 65, 1000 } do
      note_each("a queue of " .. n, function()
        local out = ffi.new "gdn_heap *[1]"
        local status = tonumber(lib.gdn_heap_new(n, out))
        return status, "", function() lib.gdn_heap_free(out[0]) end
      end)
      note_each("a longer queue than " .. n, function()
        local out = ffi.new "gdn_heap *[1]"
        if lib.gdn_heap_new(n, out) ~= 0 then return -2, "none" end
        local status = tonumber(lib.gdn_heap_reserve(out[0], n + 9))
        if status ~= 0 then lib.gdn_heap_free(out[0]) end
        return status, "", function() lib.gdn_heap_free(out[0]) end
      end)
    end
    for _, c in ipairs { { 1, 4, 1, 1, 1 }, { 2, 4, 1, 9, 40 }, { 3, 16, 2, 100, 1000 },
                         { 0, 1, 0, 7, 17 } } do
      note_each(("an index of %d, %d"):format(c[4], c[5]), function()
        local config = ffi.new("gdn_index_config", ffi.sizeof "gdn_index_config", unpack(c))
        local out = ffi.new "gdn_index *[1]"
        ffi.fill(why, 300)
        local status = tonumber(lib.gdn_index_new(config, out, why, 300))
        return status, ffi.string(why), function() lib.gdn_index_free(out[0]) end
      end)
    end
    check "scheduler"
  end)

  it("refuses a tensor that is exported", function()
    local live = tonumber(lib.gdn_counted_live())
    local status, _, b = builder_of {}
    assert.are.equal(0, status)
    local batch = ffi.new "gdn_batch *[1]"
    assert(lib.gdn_batch_new(b, batch) == 0)
    assert(lib.gdn_build(b, batch[0], nil) == 0)
    local tensor = lib.gdn_builder_metadata(b).non_spec_query_start_loc
    for _, name in ipairs { "gdn_tensor_export", "gdn_tensor_export_unversioned" } do
      note_each(name, function()
        local out = ffi.new(name:gsub("tensor_export", "dlpack") .. " *[1]")
        local got = tonumber(lib[name](b, tensor, out))
        return got, ffi.string(lib.gdn_last_error(b)), function() out[0].deleter(out[0]) end
      end)
    end
    lib.gdn_batch_free(batch[0])
    lib.gdn_builder_free(b)
    assert.are.equal(live, tonumber(lib.gdn_counted_live())) -- no export holds the device
    check "tensors"
  end)
end)
