-- Numbers that C's functions are given, without Lua's own checks before them: the last value that is taken,
-- the first that is not, and what is said of it, against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"

local int32s, int64s = gdn.array_of "int32_t", gdn.array_of "int64_t"
local notes = noted.new "c-"
local note, check = notes.note, notes.check
local MOST = 2 ^ 31 - 1

local function builder_of(options)
  local o = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, num_groups = 2, num_slots = 9,
              max_blocks_per_row = 3 }
  for name, value in pairs(options or {}) do o[name] = value end
  return assert(gdn.builder(o))
end

local function said(b) return (ffi.string(lib.gdn_last_error(b.handle)):gsub("0x%x+", "ADDRESS")) end

describe("C's functions", function()
  before_each(notes.clear)

  it("say what a status is, and which version they are of", function()
    for status = 1, -12, -1 do note("status", status, ffi.string(lib.gdn_strstatus(status))) end
    assert.are.equal(require "gdnmeta.native.version", ffi.string(lib.gdn_version()))
    check "status"
  end)

  it("make builders of configurations that can be", function()
    local why, out = ffi.new "char[200]", ffi.new "gdn_builder *[1]"
    local function try(name, value, more)
      local config = ffi.new "gdn_config"
      lib.gdn_config_init(config)
      config.max_num_seqs, config.max_num_batched_tokens = 4, 64
      for field, given in pairs(more or {}) do config[field] = given end
      config[name] = value
      ffi.fill(why, 200)
      local status = tonumber(lib.gdn_builder_new(config, out, why, 200))
      note(name, type(value) == "cdata" and value[0] or value, status == 0 and "taken" or ffi.string(why))
      if status == 0 then lib.gdn_builder_free(out[0]) end
    end
    local size = ffi.sizeof "gdn_config"
    for _, value in ipairs { 0, size - 4, size, size + 4 } do try("size", value) end
    for _, value in ipairs { -1, 0, 1, 2 } do try("num_slots", int32s(1, { value })) end
    for _, value in ipairs { 0, 1, 2 } do try("decode_context_parallel_size", value) end
    for _, value in ipairs { -1, 0, 1 } do try("max_num_batched_tokens", value, { max_num_seqs = 1 }) end
    note("no place", tonumber(lib.gdn_builder_new(ffi.new "gdn_config", nil, why, 200)), ffi.string(why))
    ffi.fill(why, 200, 65)
    lib.gdn_builder_new(ffi.new "gdn_config", out, why, 5)
    note("five bytes", ffi.string(why, 6))
    ffi.fill(why, 200, 65)
    lib.gdn_builder_new(ffi.new "gdn_config", out, why, 0)
    note("no byte", ffi.string(why, 2))
    check "configurations"
  end)

  it("borrow memory of a group that there is", function()
    local b, cells = builder_of(), int32s(64)
    for _, group in ipairs { -1, 0, 1, 2 } do
      note("table", group, lib.gdn_builder_table(b.handle, group) ~= nil)
    end
    for _, c in ipairs { { -1, 3, 1 }, { 0, 3, 1 }, { 1, 3, 1 }, { 2, 3, 1 }, { 0, 2, 1 }, { 0, 4, 1 },
                         { 0, -1, 1 }, { 0, 3, 0 }, { 0, 3, -1 }, { 0, 3, 9 } } do
      local status = tonumber(lib.gdn_builder_borrow_table(b.handle, c[1], cells, c[2], c[3]))
      note("borrow", c, status == 0 and "taken" or said(b), lib.gdn_builder_table(b.handle, 0) ~= nil)
      for group = 0, 1 do lib.gdn_builder_borrow_table(b.handle, group, nil, 0, 0) end
    end
    note("none", tonumber(lib.gdn_builder_borrow_table(b.handle, 2, nil, 0, 0)), said(b))
    for _, call in ipairs { "gdn_builder_borrow_device_seq_lens", "gdn_builder_borrow_device_accepted" } do
      for _, n in ipairs { -1, 0, 1 } do
        note(call, n, tonumber(lib[call](b.handle, cells, n)), said(b))
        note("none", n, tonumber(lib[call](b.handle, nil, n)))
      end
    end
    note("device table", tonumber(lib.gdn_builder_borrow_device_table(b.handle, 0, cells, 3, 1)), said(b))
    note("none", tonumber(lib.gdn_builder_borrow_device_table(b.handle, 0, nil, 3, 1)))
    note("device error", tonumber(lib.gdn_device_error(b.handle, 0)))
    b:close()
    check "borrowing"
  end)

  it("read and describe what was built", function()
    local b, to, meta = builder_of(), ffi.new "uint8_t[1048576]", ffi.new "gdn_metadata"
    note("check first", tonumber(lib.gdn_check(b.handle, nil)), said(b))
    local batch = b:batch()
    batch:add { query_len = 2, seq_len = 2, blocks = { { 1, 2, 3 }, { 4, 5, 6 } } }
    assert(b:build(batch))
    for _, group in ipairs { -1, 0, 1, 2 } do
      local status = tonumber(lib.gdn_metadata_group(b.handle, group, meta))
      note("group", group, status, status == 0 and
        ffi.cast("int32_t *", meta.non_spec_state_indices_tensor.data)[0])
    end
    local first = ffi.cast("char *", b.metadata.non_spec_query_start_loc.data)
    local start, bytes = nil, nil
    for offset = 0, 2 ^ 20, 8 do -- the first byte that may be read, going down
      if lib.gdn_builder_read(b.handle, to, first - offset, 1) ~= 0 then break end
      start = first - offset
    end
    for n = 8, 2 ^ 20, 8 do
      if lib.gdn_builder_read(b.handle, to, start, n) ~= 0 then break end
      bytes = n
    end
    note("read", bytes, tonumber(lib.gdn_builder_read(b.handle, to, first, 0)),
      tonumber(lib.gdn_builder_read(b.handle, to, start - 1, 1)),
      tonumber(lib.gdn_builder_read(b.handle, to, start + bytes, 1)),
      tonumber(lib.gdn_builder_read(b.handle, to, start + bytes - 1, 1)),
      tonumber(lib.gdn_builder_read(b.handle, to, start + bytes - 1, 2)),
      tonumber(lib.gdn_builder_read(b.handle, nil, start, 0)),
      tonumber(lib.gdn_builder_read(b.handle, nil, start, 1)))
    note("said", said(b))
    batch:close()
    b:close()
    check "reading"
  end)

  it("export tensors that are tensors", function()
    local b = builder_of()
    local batch = b:batch()
    batch:add { query_len = 2, seq_len = 2, blocks = { { 1, 2, 3 }, { 4, 5, 6 } } }
    assert(b:build(batch))
    local out = ffi.new "gdn_dlpack *[1]"
    local function try(name, change)
      local t = ffi.new("gdn_tensor", lib.gdn_builder_metadata(b.handle).non_spec_query_start_loc)
      change(t)
      local status = tonumber(lib.gdn_tensor_export(b.handle, t, out))
      note(name, status == 0 and "taken" or said(b))
      if status == 0 then out[0].deleter(out[0]) end
    end
    for _, v in ipairs { -1, 0, 1, 2, 3, 4, 5 } do try("dtype " .. v, function(t) t.dtype = v end) end
    for _, v in ipairs { -1, 0, 1, 2, 3 } do try("ndim " .. v, function(t) t.ndim = v end) end
    for _, v in ipairs { -1, 0, 1, 2, 3, 2 ^ 40 } do
      try("shape[0] " .. v, function(t) t.shape[0] = v end)
      try("shape[1] " .. v, function(t) t.shape[1] = v end)
      try("shape[1] of 2 " .. v, function(t) t.ndim, t.shape[1] = 2, v end)
    end
    batch:close()
    b:close()
    check "exports"
  end)

  it("hash bytes, blocks and chains", function()
    local text = "a text of more than thirty bytes, for eight at a time"
    for n = 0, #text, 3 do note("bytes", n, ("%d"):format(tonumber(lib.gdn_hash_bytes(text, n, n % 2)))) end
    note("no bytes", ("%d"):format(tonumber(lib.gdn_hash_bytes(nil, 8, 0))))
    note("fewer than none", ("%d"):format(tonumber(lib.gdn_hash_bytes(text, -1, 0))))
    local tokens, ids = int32s(16, { 5, 6, 7, 8, 9, 10, 11, 12, 13 }), int64s(17)
    for _, c in ipairs { { -1, 4, 0, -1 }, { 0, 4, 0, -1 }, { 8, 0, 0, -1 }, { 8, -1, 0, -1 },
                         { 8, 1, 0, -1 }, { 9, 4, 1, -1 }, { 9, 4, 1, 77 }, { 16, 16, -5, 0 },
                         { 3, 4, 0, -1 }, { 16, MOST, 0, -1 } } do
      for i = 0, 16 do ids[i] = -9 end
      local status, list = tonumber(lib.gdn_hash_blocks(tokens, c[1], c[2], c[3], c[4], ids)), {}
      for i = 0, 8 do list[i + 1] = ("%d"):format(tonumber(ids[i])) end
      note("blocks", c, status, table.concat(list, " "))
    end
    for _, c in ipairs { { -1, 0, -1 }, { 0, 0, -1 }, { 3, 0, -1 }, { 3, 7, -1 }, { 3, 0, 12 } } do
      local given, list = int64s(4, { 1, 2, 2 ^ 53, 4 }), {}
      local status = tonumber(lib.gdn_hash_chain(given, c[1], c[2], c[3], given))
      for i = 0, 3 do list[i + 1] = ("%d"):format(tonumber(given[i])) end
      note("chain", c, status, table.concat(list, " "))
    end
    check "hashes"
  end)

  it("make blocks of an attention cache, and send them", function()
    local b, out = builder_of(), ffi.new "gdn_kv *[1]"
    local function make(fields)
      local config = ffi.new("gdn_kv_config", 8, 4, 3, 2, 2)
      for name, value in pairs(fields) do config[name] = value end
      return tonumber(lib.gdn_kv_new(b.handle, config, out))
    end
    for _, name in ipairs { "num_blocks", "block_size", "rows", "columns", "steps" } do
      for _, value in ipairs { -1, 0, 1, 2, 3, 4, 5 } do
        local status = make { [name] = value }
        note(name, value, status == 0 and "taken" or said(b))
        if status == 0 then lib.gdn_kv_free(out[0]) end
      end
    end
    assert.are.equal(0, make {})
    local kv = out[0]
    for _, c in ipairs { { -1, 0 }, { 0, 0 }, { 1, 0 }, { 2, 0 }, { 0, -1 }, { 0, 64 }, { 0, 65 } } do
      local status = tonumber(lib.gdn_kv_send(b.handle, kv, c[1], c[2], nil))
      note("send", c, status == 0 and "taken" or said(b))
    end
    note("on the CPU", lib.gdn_kv_device_table(kv) == nil, lib.gdn_kv_device_mapping(kv, 0) == nil,
      lib.gdn_kv_device_mapping(kv, 2) == nil)
    lib.gdn_kv_free(kv)
    b:close()
    check "blocks"
  end)

  it("order and reorder no fewer than none", function()
    local heap = ffi.new "gdn_heap *[1]"
    for _, n in ipairs { -1, 0, 1, 2 } do
      local status = tonumber(lib.gdn_heap_new(n, heap))
      note("heap", n, status)
      if status == 0 then
        for _, id in ipairs { -1, 0, n - 1, n, MOST } do
          note("set", id, tonumber(lib.gdn_heap_set(heap[0], id, 1, 1)), lib.gdn_heap_size(heap[0]))
          note("key", id, lib.gdn_heap_key(heap[0], id), lib.gdn_heap_remove(heap[0], id))
        end
        for _, more in ipairs { -1, 0, 1, 2, 3 } do
          note("reserve", more, tonumber(lib.gdn_heap_reserve(heap[0], more)),
            tonumber(lib.gdn_heap_set(heap[0], 2, 1, 1)))
        end
        lib.gdn_heap_free(heap[0])
      end
    end
    local keys, items, work = ffi.new("double[4]", 4, 3, 2, 1), int32s(4, { 0, 1, 2, 3 }), int32s(4)
    for _, n in ipairs { -1, 0, 1, 2, 4 } do
      lib.gdn_sort_by_key(n, keys, items, work)
      note("sorted", n, items[0], items[1], items[2], items[3])
    end
    check "orders"
  end)
end)
