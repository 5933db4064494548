-- States and windows are brought to where kernels look that read where they write: on the CPU, byte by byte
-- as gdnmeta.h says.   GDN_SEED=N replays a run
local ffi = require "ffi"
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local steps = require "spec.support.bring_steps"
local until_met = require "spec.support.until_met"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 5)
local SEED = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24

ffi.cdef [[
void *mmap(void *address, size_t bytes, int protection, int flags, int file, long offset);
int munmap(void *address, size_t bytes);
]]

describe("Bringing states", function()
  it("moves the bytes that the header names, and no other", function()
    until_met(SEED, CASES, { moves = CASES, within = CASES / 20 }, function(case, met)
      math.randomseed(case)
      local c = steps.builder("cpu", case % 50 == 0 and 1500 or nil)
      for _, make in ipairs { steps.states, steps.windows } do
        local moves, within = steps.check(c, make(c), ("GDN_SEED=%d"):format(case))
        met.moves, met.within = met.moves + moves, met.within + within
      end
      c.batch:close()
      c.builder:close()
    end)
  end)

  -- A builder whose one row reads slot `from` and writes slot `to`.
  local function reader(from, to, num_slots)
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_slots = num_slots,
                                         max_blocks_per_row = 2 })
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { to, from }, read_column = 1 }
    assert(builder:build(batch))
    return builder
  end

  it("reads and writes nothing for a slot that is null or outside the pool", function()
    local builder, pool = reader(2, 3, 8), ffi.new "uint8_t[64]"
    pool[16] = 1
    local tensors = builder.metadata
    local written = tensors.non_spec_state_indices_tensor.data
    local read = tensors.non_spec_read_state_indices.data
    for _, slot in ipairs { 0, -1, 8, 9, 2 ^ 31 - 1, -2 ^ 31 } do
      for _, memory in ipairs { read, written } do
        local was = memory[0]
        memory[0] = slot
        assert(builder:bring_states { pool = pool, slot_bytes = 8 })
        memory[0] = was
        for i = 0, 63 do assert.are.equal(i == 16 and 1 or 0, pool[i]) end
      end
    end
    assert(builder:bring_states { pool = pool, slot_bytes = 8 })
    assert.are.equal(1, pool[24])
    builder:close()
  end)

  it("of 64 MiB, and beyond 2^32 bytes of a pool", function()
    local far = 5 * 2 ^ 30 -- reserved, not used
    for _, case in ipairs { { 90, 3, 64 * 2 ^ 20 }, { 2, 85, 64 * 2 ^ 20 }, { 1, 2, 4096, 2 ^ 32 + 4096 } } do
      local from, to, bytes, stride = unpack(case)
      local builder = reader(from, to, stride and 3 or 100)
      stride = stride or bytes
      local size = stride > bytes and 3 * stride or 100 * bytes
      assert.is_true(size > far)
      local pool = ffi.cast("uint8_t *", ffi.C.mmap(nil, size, 3, 0x4022, -1, 0)) -- private, no reserve
      assert(pool ~= ffi.cast("uint8_t *", -1), "no addresses for a pool of that size")
      local source, target = pool + from * stride, pool + to * stride
      for _, at in ipairs { 0, 1, bytes / 2, bytes - 1 } do source[at] = 100 + at % 101 end
      local o = { pool = pool, slot_bytes = bytes, slot_stride = stride }
      assert(builder:bring_states(o))
      for _, at in ipairs { 0, 1, bytes / 2, bytes - 1 } do assert.are.equal(100 + at % 101, target[at]) end
      local beyond = target + bytes
      assert.are.same({ 0, 0 }, { target[2], to < 99 and beyond[0] or 0 })
      ffi.C.munmap(pool, size)
      builder:close()
    end
  end)
end)

describe("Bringing states refuses,", function()
  local builder, memory, pool, before
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_slots = 8, num_groups = 2,
                                   num_speculative_tokens = 2 })
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 9, prompt_done = true, accepted = 2,
                blocks = { { 1, 2, 3 }, { 4, 5, 6 } } }
    assert(builder:build(batch))
    memory, before = ffi.new "uint8_t[4096]", ffi.new "uint8_t[4096]"
    pool = ffi.cast("uint8_t *", memory) -- a pointer says nothing of a length
    for i = 0, 4095 do pool[i] = i % 251 end
    ffi.copy(before, pool, 4096)
  end)
  after_each(function()
    assert.is_true(ffi.string(before, 4096) == ffi.string(pool, 4096), "something was written")
    builder:close()
  end)

  local function states(o)
    local all = { group = 0, pool = pool, slot_bytes = 16 }
    for name, value in pairs(o) do all[name] = value end
    return all
  end
  local function windows(o)
    local all = { group = 0, pool = pool, channels = 2, length = 4, element_bytes = 2 }
    for name, value in pairs(o) do all[name] = value end
    return all
  end

  it("at the caller's line, what is no option or out of its range", function()
    local S, W = "gdnmeta.Builder:bring_states: ", "gdnmeta.Builder:bring_windows: "
    local function no(message, method, o) raises(message, function() builder[method](builder, o) end) end
    no(S .. "options = nil, want a table", "bring_states", nil)
    no(S .. "unknown option slots, want one of group, pool, slot_bytes, slot_stride, spec_rows",
       "bring_states", { slots = 1 })
    for _, value in ipairs { 0, -1, 1.5, 64 * 2 ^ 20 + 1, 0 / 0 } do
      local shown = value ~= value and "nan" or ("%.14g"):format(value)
      no(S .. "slot_bytes = " .. shown .. ", want an integer in 1 .. 67108864", "bring_states",
         states { slot_bytes = value })
    end
    no(S .. "slot_bytes = nil, want an integer in 1 .. 67108864", "bring_states", { group = 0, pool = pool })
    for _, group in ipairs { -1, 2, 0.5 } do
      local wanted = ("group = %s, want an integer in 0 .. 1"):format(group)
      no(S .. wanted, "bring_states", states { group = group })
      no(W .. wanted, "bring_windows", windows { group = group })
    end
    no(S .. "group = nil, want an integer in 0 .. 1", "bring_states", { pool = pool, slot_bytes = 16 })
    no(S .. "pool = nil, want a pointer or a DLPack tensor", "bring_states", { group = 0, slot_bytes = 16 })
    no(S .. "pool = 5, want a pointer or a DLPack tensor", "bring_states", states { pool = 5 })
    no(S .. "pool[2] = false, want a pointer or a DLPack tensor", "bring_states",
       states { pool = { pool, false } })
    no(S .. "pool has 0 elements, want 1 .. 64", "bring_states", states { pool = {} })
    no(S .. 'spec_rows = "all", want "accepted", "first" or "leave"', "bring_states",
       states { spec_rows = "all" })
    raises(S .. 'stream = "x", want nil or a pointer', function() builder:bring_states(states {}, "x") end)
    for _, value in ipairs { 0, 3, 5, 16, "4" } do
      local shown = value == "4" and '"4"' or value
      no(W .. ("element_bytes = %s, want 1, 2, 4 or 8"):format(shown), "bring_windows",
         windows { element_bytes = value })
    end
    no(W .. "channels = 0, want an integer in 1 .. 16777216", "bring_windows", windows { channels = 0 })
    no(W .. "length = 1025, want an integer in 1 .. 1024", "bring_windows", windows { length = 1025 })
    no(W .. "strides = a table, want a list of three: elements to the next slot, channel, token",
       "bring_windows", windows { strides = { 8, 1 } })
    no(W .. "strides[3] = 0, want an integer in 1 .. 1099511627776", "bring_windows",
       windows { strides = { 8, 4, 0 } })
    no(W .. 'windows_in = "last", want "first" or "every"', "bring_windows", windows { windows_in = "last" })
  end)

  local function is_refused(pattern, method, o)
    local ok, message, code = builder[method](builder, o)
    assert.are.same({ nil, gdn.EINVAL }, { ok, code })
    assert.matches(pattern, message)
  end

  it("with a message, slots that overlap and windows too short for drafts", function()
    is_refused("^slot_stride = 15, want 16 %.%. 1099511627776$", "bring_states", states { slot_stride = 15 })
    is_refused("^length = 2, want 3 %.%. 1024: a window of one token and num_speculative_tokens = 2$",
               "bring_windows", windows { length = 2 })
    is_refused("^channels = 16777216 of length = 4 are 134217728 bytes a slot, want <= 67108864$",
               "bring_windows", windows { channels = 2 ^ 24 })
    local overlapping = { { 7, 4, 1 }, { 8, 3, 1 }, { 8, 1, 1 }, { 1, 4, 1 }, { 8, 2, 2 }, { 4, 4, 1 } }
    for _, strides in ipairs(overlapping) do
      is_refused(("^strides = %d, %d, %d for 8 slots"):format(unpack(strides)), "bring_windows",
                 windows { strides = strides })
      is_refused("^strides = %d, %d, %d for 8 slots of 2 channels of 4 tokens: elements overlap$",
                 "bring_windows", windows { strides = strides })
    end
    for _, strides in ipairs { { 8, 4, 1 }, { 8, 1, 2 }, { 1, 8, 16 }, { 4, 32, 1 } } do
      builder:bring_windows(windows { strides = strides, spec_rows = "leave" })
      ffi.copy(pool, before, 4096)
    end
  end)

  it("with a message, sums that pass 2^63 and the end of memory", function()
    is_refused("^pool = .* with %d+ bytes passes the end of memory$", "bring_states",
               states { pool = ffi.cast("void *", -4096LL), slot_bytes = 4096 })
    local wide = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_slots = 2 ^ 31 - 1 })
    local batch = wide:batch()
    batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { 1 } }
    assert(wide:build(batch))
    local ok, message = wide:bring_states { pool = pool, slot_bytes = 1, slot_stride = 2 ^ 40 }
    assert.is_nil(ok)
    assert.are.equal("num_slots = 2147483647 slots, 1099511627776 bytes from one to the next, are no 64-bit "
                     .. "memory", message)
    wide:close()
  end)

  it("with a message, pools that overlap each other or the builder's tensors", function()
    local overlap = "^pools%[1%] = .* overlaps pools%[0%] = .*: slots of %d+ bytes, %d+ from one to the next$"
    for _, offset in ipairs { 0, 15, 16, 127 } do -- one pool after the other begins at 128
      is_refused(overlap, "bring_states", states { pool = { pool, pool + offset } })
      is_refused(overlap, "bring_states", states { pool = { pool + offset, pool } })
    end
    for _, offset in ipairs { 15, 33, 48 + 15 } do -- in gaps of 32 bytes
      is_refused(overlap, "bring_states", states { pool = { pool, pool + offset }, slot_stride = 48 })
    end
    for _, offset in ipairs { 0, 2, 14, 32 + 2 } do
      is_refused(overlap, "bring_windows", windows { pool = { pool, pool + offset }, strides = { 16, 1, 2 } })
    end
    local wide = { 32, 1, 8 } -- two channels of eight: another pool may have the others
    for _, offset in ipairs { 16, 18, 16 + 14 } do
      is_refused(overlap, "bring_windows", windows { pool = { pool, pool + offset }, strides = wide })
    end
    for _, offset in ipairs { 4, 12, 16 + 4 } do
      assert(builder:bring_windows(windows { pool = { pool, pool + offset }, strides = wide }))
    end
    assert(builder:bring_windows(windows { pool = { pool, pool + 16 }, strides = { 16, 1, 2 } }))
    for _, slot in ipairs { 0, 6 } do -- whose next slot meets the other pool's first one
      local offset = slot * 64 + 62
      is_refused(overlap, "bring_windows", windows { pool = { pool, pool + offset }, strides = wide })
    end
    assert(builder:bring_states(states { pool = { pool, pool + 16, pool + 32 }, slot_stride = 48 }))
    ffi.copy(pool, before, 4096)
    local meta = builder.metadata
    local at = ffi.cast("uint8_t *", meta.non_spec_state_indices_tensor.data)
    for _, offset in ipairs { 0, -64, 4 } do
      is_refused("^pool = .* with 128 bytes overlaps the builder's tensors$", "bring_states",
                 states { pool = at + offset })
    end
    is_refused("^pool = .* want it aligned to elements of 4 bytes$", "bring_windows",
               windows { pool = pool + 2, element_bytes = 4 })
  end)

  it("a tensor of another device, whose pointer alone would not say so", function()
    local shape = ffi.new("int64_t[2]", 8, 16)
    local tensor = ffi.new("gdn_dl_tensor", { data = pool, device_type = 2, byte_offset = 64, ndim = 2,
                                              bits = 8, lanes = 1, shape = shape })
    raises("gdnmeta.Builder:bring_states: pool is a tensor on device type 2, want 1 (the CPU)",
           function() builder:bring_states(states { pool = tensor }) end)
    tensor.device_type = 1
    assert(builder:bring_states(states { pool = tensor }))
    local want = ffi.string(before, 4096)
    local moved = want:sub(1, 64 + 16) .. want:sub(64 + 33, 64 + 48) .. want:sub(64 + 33)
    assert.are.equal(moved, ffi.string(pool, 4096))
    ffi.copy(pool, before, 4096)
  end)

  it("arrays and tensors that are too short for the slots", function()
    local function short(name, has, least)
      return ("gdnmeta.Builder:%s: pool has %d bytes, want at least %d, those of num_slots = 8 slots"):format(
        name, has, least)
    end
    local function no(message, method, o) raises(message, function() builder[method](builder, o) end) end
    local array = ffi.new "uint8_t[127]"
    no(short("bring_states", 127, 128), "bring_states", states { pool = array })
    assert(builder:bring_states(states { pool = ffi.new "uint8_t[128]" }))
    no(short("bring_states", 127, 7 * 48 + 16), "bring_states", states { pool = array, slot_stride = 48 })
    no(short("bring_windows", 127, 128), "bring_windows", windows { pool = array })
    no(short("bring_windows", 127, 2 * (7 * 16 + 1 * 1 + 3 * 2 + 1)), "bring_windows",
       windows { pool = array, strides = { 16, 1, 2 } })
    local shape, strides = ffi.new("int64_t[2]", 8, 16), ffi.new("int64_t[2]", 20, 1)
    local tensor = ffi.new("gdn_dl_tensor", { data = pool, device_type = 1, ndim = 2, bits = 8, lanes = 1,
                                              shape = shape })
    assert(builder:bring_states(states { pool = tensor }))
    ffi.copy(pool, before, 4096)
    shape[0] = 7
    no(short("bring_states", 112, 128), "bring_states", states { pool = tensor })
    tensor.strides = strides -- 6 * 20 + 16
    assert(builder:bring_states(states { pool = tensor }))
    ffi.copy(pool, before, 4096)
    shape[1], tensor.bits = 0, 32
    no(short("bring_states", 0, 128), "bring_states", states { pool = tensor })
  end)

  it("before any build, and under rules without read indices", function()
    builder:close()
    builder = assert(gdn.builder { device = "cpu", num_groups = 2, num_slots = 8 })
    is_refused("^nothing is built yet, want a build before$", "bring_states", states {})
    is_refused("^nothing is built yet, want a build before$", "bring_windows", windows {})
    builder:close()
    builder = assert(gdn.builder { device = "cpu", num_groups = 2, num_slots = 8, rules = "vllm-2026-08" })
    is_refused('^rules = "vllm%-2026%-08" have no read indices, want "strict"$', "bring_states", states {})
  end)
end)
