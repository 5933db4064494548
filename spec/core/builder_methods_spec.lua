-- What a builder's methods leave behind: what they keep alive, which tables are in use, what is counted; and
-- that each of them finds a builder closed before it looks at anything else.
local array_of = require "gdnmeta.array_of"
local drivers = require "spec.support.driver"
local ffi = require "ffi"
local gdn = require "gdnmeta"
local methods = require "gdnmeta.native.methods"
local make = require "spec.support.small_builder"
local stands = require "spec.support.stands"

local bytes_t, int32s = array_of "uint8_t", array_of "int32_t"

describe("A builder", function()
  it("is found closed, and called with a dot, before anything else is looked at", function()
    local builder, asked = make(), 0
    builder:close()
    for name, method in pairs(methods.Builder) do
      if type(method) == "function" and not name:find "^__" then
        asked = asked + 1
        if name ~= "close" then
          stands("gdnmeta.Builder: closed", function() method(builder, print, 5, print, print) end)
        end
        stands(("gdnmeta.Builder:%s: call it with a colon"):format(name), function() method(5, print) end)
      end
    end
    assert.are.equal(19, asked)
  end)

  it("has as many slots in each group as it is told", function()
    local list = int32s(3, { 9, 8, 7 })
    for given, want in pairs { [9] = { 9, 9, 9 }, [{ 7, 8, 9 }] = { 7, 8, 9 }, [list] = { 9, 8, 7 } } do
      local builder = make { num_groups = 3, num_slots = given }
      assert.are.same(want, builder.num_slots)
      builder:close()
    end
    local builder = make { num_groups = 3, num_slots = { list + 0, 3 } }
    assert.are.same({ 9, 8, 7 }, builder.num_slots)
    builder:close()
    local message = 'gdnmeta.builder: num_slots = "x", want an integer or a list with one per group'
    stands(message, function() gdn.builder { num_groups = 3, num_slots = "x" } end)
  end)

  it("is not made of declarations whose codes have other names", function()
    local schema, was = require "gdnmeta.native.schema", package.loaded["gdnmeta.builder.options"]
    for _, option in ipairs(schema.options) do
      for _, name in ipairs(option.kind == "CODE" and { "low", "high" } or {}) do
        local right = option[name]
        option[name], package.loaded["gdnmeta.builder.options"] = right + 1, nil
        local ok, message = pcall(require, "gdnmeta.builder.options")
        option[name], package.loaded["gdnmeta.builder.options"] = right, was
        assert.is_false(ok, option.name)
        assert.matches("config_fields.h has other codes than NAMES: " .. option.name, message, 1, true)
      end
    end
  end)
end)

describe("A pool of states", function()
  local builder
  -- A speculative row whose state is in its first slot, and whose kernel looks for it in the second.
  before_each(function()
    builder = make { num_speculative_tokens = 2 }
    local batch = builder:batch()
    batch:add { query_len = 3, seq_len = 9, drafts = 2, accepted = 2, prompt_done = true,
                read_column = 0, blocks = { 3, 5, 6 } }
    assert(builder:build(batch))
  end)
  after_each(function() builder:close() end)

  local function pool_of(bytes)
    local pool = bytes_t(8 * bytes)
    for i = 0, 8 * bytes - 1 do pool[i] = i end
    return pool
  end

  it("is brought for kernels that read the column that was accepted, unless it is said otherwise", function()
    local function brought(method, rows)
      local pool, o = pool_of(4), { channels = 1, length = 4, element_bytes = 1, windows_in = "first" }
      if method == "bring_states" then o = { slot_bytes = 4 } end
      o.pool, o.spec_rows = pool, rows
      assert(builder[method](builder, o))
      return ffi.string(pool, 32)
    end
    for _, method in ipairs { "bring_states", "bring_windows" } do
      assert.are.equal(brought(method, "accepted"), brought(method), method)
      assert.are_not.equal(brought(method, "first"), brought(method), method)
      assert.are.equal(ffi.string(pool_of(4), 32), brought(method, "leave"), method)
    end
  end)

  it("may be a DLPack tensor in an export, of either version", function()
    local plain, want = pool_of(4), pool_of(4)
    assert(builder:bring_states { pool = want, slot_bytes = 4 })
    assert.are_not.equal(ffi.string(plain, 32), ffi.string(want, 32))
    for _, struct in ipairs { "gdn_dlpack", "gdn_dlpack_unversioned" } do
      local pool, shape = pool_of(4), ffi.new("int64_t[2]", 8, 4)
      local export = ffi.new(struct)
      local t = export.dl_tensor
      t.data, t.device_type, t.ndim, t.bits, t.lanes, t.shape = pool, 1, 2, 8, 1, shape
      local pointer = ffi.cast(struct .. " *", export)
      assert(builder:bring_states { pool = pointer, slot_bytes = 4 })
      assert.are.equal(ffi.string(want, 32), ffi.string(pool, 32))
      shape[0] = 7
      stands("gdnmeta.Builder:bring_states: pool has 28 bytes",
        function() builder:bring_states { pool = pointer, slot_bytes = 4 } end)
      shape[1], t.bits, t.lanes = 1, 64, 2
      stands("gdnmeta.Builder:bring_states: pool has 112 bytes",
        function() builder:bring_states { pool = pointer, slot_bytes = 16 } end)
    end
  end)

  it("may be one of 64", function()
    local pools = {}
    for n = 1, 64 do pools[n] = pool_of(4) end
    assert(builder:bring_states { pool = pools, slot_bytes = 4 })
    for n = 1, 64 do assert.are_not.equal(ffi.string(pool_of(4), 32), ffi.string(pools[n], 32)) end
    pools[65] = pool_of(4)
    stands("gdnmeta.Builder:bring_states: pool has 65 elements, want 1 .. 64",
      function() builder:bring_states { pool = pools, slot_bytes = 4 } end)
  end)

  it("lives until another is brought", function()
    local alive = setmetatable({}, { __mode = "k" })
    local function bring()
      local pool = pool_of(4)
      alive[pool] = true
      assert(builder:bring_states { pool = { pool }, slot_bytes = 4 })
    end
    bring()
    collectgarbage()
    collectgarbage()
    assert.is_truthy(next(alive))
    assert.matches("<void %*%[%?%]>", tostring(ffi.typeof(builder.core.pool_list)))
    assert(builder:bring_states { pool = pool_of(4), slot_bytes = 4 })
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(alive))
  end)
end)

describe("Tables in use", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  it("have as many rows as the shortest of all groups, and are the builder's own again", function()
    for _, device in ipairs { "cpu", "cuda" } do
      local builder = make { device = device, num_groups = 2, max_requests = 6 }
      local cells = device == "cpu" and int32s(64) or driver:int32(64)
      local borrow = builder[device == "cpu" and "borrow_table" or "borrow_device_table"]
      local batch = builder:batch()
      local function rows() return builder.table_rows.least, builder.table_rows[0], builder.table_rows[1] end
      assert.are.same({ 6 }, { rows() })
      assert.is_true(borrow(builder, 1, cells, 8, 3))
      assert.are.same({ 3, nil, 3 }, { rows() })
      stands("gdnmeta.Batch:push: table_row = 3", function() batch:push(3, 1, 1, false) end)
      stands("gdnmeta.Builder:table: group 1 borrows", function() builder:table(1) end)
      assert.is_true(borrow(builder, 0, cells, 8, 7))
      assert.are.same({ 3, 7, 3 }, { rows() })
      -- What stands behind nil is not looked at.
      assert.is_true(borrow(builder, 1, nil, 5, 2))
      assert.are.same({ 6, 7 }, { rows() })
      assert.is_true(borrow(builder, 0, nil))
      assert.are.same({ 6 }, { rows() })
      for group = 0, 1 do assert.is_true(rawequal(builder:table(group), builder:table(group))) end
      assert.are.equal(0, batch:push(5, 1, 1, false))
      builder:close()
    end
  end)

  it("of a device are counted, and errors there are taken once", function()
    local builder = make { device = "cuda", check = true }
    local batch = builder:batch()
    assert.are.same({ launches = 0, ring_launches = 0, ring_waits = 0, reads = 0, skipped = 0 },
      builder:counters())
    batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { 3 } }
    local meta = assert(builder:build(batch))
    assert.are.equal(3, meta.non_spec_state_indices_tensor[0])
    assert(builder:check())
    assert.are.same({ launches = 3, ring_launches = 0, ring_waits = 0, reads = 1, skipped = 0 },
      builder:counters())
    for _, method in ipairs { "peek_device_error", "take_device_error", "peek_check_result",
                              "take_check_result" } do
      assert.is_true(builder[method](builder), method)
    end
    builder:close()
  end)

  it("are checked as often as one likes, until what was found is taken", function()
    local builder = make { check = true }
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { 3 } }
    local memory = assert(builder:build(batch)).non_spec_query_start_loc.data
    memory[1] = 7
    assert.is_true(builder:check())
    local found = { builder:peek_check_result() }
    assert.are.same({ nil, gdn.EINVAL }, { found[1], found[3] })
    assert.are.same(found, { builder:peek_check_result() })
    gdn.on_deprecated = function() end
    for _, forget in ipairs { false, true, false } do
      assert.are.same({ found[2], found[3] }, { builder:check_result(forget) })
      if forget then
        assert.are.same({}, { builder:check_result() })
        assert.is_true(builder:check())
      end
    end
    gdn.on_deprecated = nil
    assert.are.same(found, { builder:take_check_result() })
    assert.is_true(builder:peek_check_result())
    builder:close()
  end)
end)

-- Methods of a file whose calls into the library give a status.
local function failing(file)
  local lib, was = require "gdnmeta.native", package.loaded[file]
  package.loaded[file], package.loaded["gdnmeta.native"] = nil, setmetatable({}, {
    __index = function(_, name)
      local is_call = name:find "^gdn_builder_borrow" or name:find "^gdn_check" or name:find "^gdn_bring"
      return is_call and function() return -7 end or lib[name]
    end,
  })
  local made = require(file)
  package.loaded[file], package.loaded["gdnmeta.native"] = was, lib
  return made.methods or made
end

describe("A call into the library that fails", function()
  it("is nil, its message and its code, and changes no table", function()
    local builder, asked = make(), 0
    local pool = { pool = bytes_t(512), slot_bytes = 4, channels = 1, length = 4, element_bytes = 1 }
    local ARGUMENTS = { borrow_table = { 0, int32s(64), 8, 3 },
                        borrow_device_table = { 0, ffi.cast("int32_t *", 64), 8, 3 },
                        borrow_device_seq_lens = { ffi.cast("int32_t *", 64), 3 }, check = {},
                        borrow_device_accepted = { ffi.cast("int32_t *", 64), 3 }, bring_states = { pool },
                        bring_windows = { pool }, peek_check_result = {}, take_check_result = {} }
    builder:build_raw { query_start_loc = { 1 } }
    for _, file in ipairs { "state_tables", "device_inputs", "verify", "bring" } do
      for name, method in pairs(failing("gdnmeta.builder." .. file)) do
        local arguments = ARGUMENTS[name]
        if arguments then
          asked = asked + 1
          if name:find "^bring" then
            pool.slot_bytes, pool.channels = name == "bring_states" and 4 or nil, nil
            pool.length, pool.element_bytes = nil, nil
            if name == "bring_windows" then pool.channels, pool.length, pool.element_bytes = 1, 4, 1 end
          end
          local message = "query_start_loc[0] = 1, want 0"
          assert.are.same({ nil, message, -7 }, { method(builder, unpack(arguments)) }, name)
          assert.are.same({ least = 4 }, builder.table_rows)
        end
      end
    end
    assert.are.equal(9, asked)
    builder:close()
  end)
end)
