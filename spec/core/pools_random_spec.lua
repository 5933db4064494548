-- Pools of states and windows are taken where no two elements share a byte, and refused where some do: by
-- sets of bytes, for random shapes, strides and places. And each number: the last value, the first wrong one.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local schema = require "gdnmeta.native.schema"

local notes = noted.new "c-"
local note, check = notes.note, notes.check
local int64_3, pools_t = ffi.typeof "int64_t[3]", ffi.typeof "void *[66]"

-- A builder that has built a step without rows: nothing is to be moved, so that memory is only named.
local function empty_builder(num_slots, drafts)
  local b = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_slots = num_slots,
                                 num_speculative_tokens = drafts or 0 })
  local batch = b:batch()
  assert(b:build(batch))
  batch:close()
  return b
end

local memory = ffi.new "uint8_t[8192]"
local base = math.ceil(tonumber(ffi.cast("uintptr_t", memory)) / 16) * 16

local function place(at) return ffi.cast("void *", base + at) end

local function said(b) return ffi.string(lib.gdn_last_error(b.handle)) end

local function states(b, fields)
  local g = ffi.new("gdn_state_pools", ffi.sizeof "gdn_state_pools", 0, 0, 1, nil, 16, 0)
  local pools = pools_t(place(0), place(2048))
  g.pools = pools
  for name, value in pairs(fields) do g[name] = value end
  return tonumber(lib.gdn_bring_states(b.handle, g, nil)), pools
end

local function windows(b, fields)
  local g = ffi.new("gdn_window_pools", ffi.sizeof "gdn_window_pools")
  local pools = pools_t(place(0), place(2048))
  g.num_pools, g.channels, g.length, g.element_bytes, g.pools = 1, 2, 4, 2, pools
  for name, value in pairs(fields) do g[name] = value end
  return tonumber(lib.gdn_bring_windows(b.handle, g, nil)), pools
end

-- Does each dimension, from the innermost out, step over all that the inner ones span?
local function nests(dims)
  local list, spanned = {}, 0
  for _, d in ipairs(dims) do
    if d.length > 1 then list[#list + 1] = d end
  end
  table.sort(list, function(a, b) return a.stride < b.stride end)
  for _, d in ipairs(list) do
    if d.stride <= spanned then return false end
    spanned = spanned + d.stride * (d.length - 1)
  end
  return true
end

local function bytes_of(at, dims, element)
  local set = {}
  for i = 0, dims[1].length - 1 do
    for k = 0, dims[2].length - 1 do
      for t = 0, dims[3].length - 1 do
        local first = at + (i * dims[1].stride + k * dims[2].stride + t * dims[3].stride) * element
        for byte = first, first + element - 1 do set[byte] = true end
      end
    end
  end
  return set
end

local function share(a, b)
  for byte in pairs(a) do
    if b[byte] then return true end
  end
  return false
end

describe("Pools", function()
  before_each(notes.clear)

  it("are taken where no byte is two elements', for random windows", function()
    local seed, counts = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24, { 0, 0, 0 }
    math.randomseed(seed)
    for num_slots = 1, 4 do
      local b = empty_builder(num_slots)
      for case = 1, 500 do
        local channels, length, element = math.random(3), math.random(3), 2 ^ math.random(0, 1)
        local dims = { { length = num_slots, stride = math.random(14) },
                       { length = channels, stride = math.random(6) },
                       { length = length, stride = math.random(6) } }
        local at, offset = 512 + element * math.random(0, 3), element * math.random(-30, 30)
        local fields = { channels = channels, length = length, element_bytes = element, num_pools = 2,
                         strides = int64_3(dims[1].stride, dims[2].stride, dims[3].stride),
                         pools = pools_t(place(at), place(at + offset)) }
        local span = ((channels - 1) * dims[2].stride + (length - 1) * dims[3].stride + 1) * element
        local whole = (num_slots - 1) * dims[1].stride * element + span
        -- Where slots are not outermost, pools within one another are not looked into.
        local is_unsure = dims[1].stride * element < span and math.abs(offset) < whole
        local are_apart = not share(bytes_of(at, dims, element), bytes_of(at + offset, dims, element))
        local want = nests(dims) and (is_unsure and "unsure" or are_apart and "taken") or "refused"
        local status = windows(b, fields)
        local where = ("GDN_SEED=%d, %d slots, case %d: %s"):format(seed, num_slots, case, said(b))
        assert.are.equal(want == "taken" and 0 or gdn.EINVAL, status, where)
        local k = want == "taken" and 1 or nests(dims) and 2 or 3
        counts[k] = counts[k] + 1
      end
      b:close()
    end
    for k = 1, 3 do assert.is_true(counts[k] > 100) end
  end)

  it("are taken where no byte is two slots', for random states", function()
    local seed, counts = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24, { 0, 0 }
    math.randomseed(seed)
    for num_slots = 1, 4 do
      local b = empty_builder(num_slots)
      for case = 1, 200 do
        local bytes, gap, offset = math.random(8), math.random(0, 12), math.random(-60, 60)
        local dims = { { length = num_slots, stride = bytes + gap }, { length = 1, stride = 0 },
                       { length = bytes, stride = 1 } }
        local are_apart = not share(bytes_of(0, dims, 1), bytes_of(offset, dims, 1))
        local status = states(b, { slot_bytes = bytes, slot_stride = bytes + gap, num_pools = 2,
                                   pools = pools_t(place(100), place(100 + offset)) })
        assert.are.equal(are_apart and 0 or gdn.EINVAL, status, ("GDN_SEED=%d, %d slots, case %d"):format(
          seed, num_slots, case))
        counts[are_apart and 1 or 2] = counts[are_apart and 1 or 2] + 1
      end
      b:close()
    end
    assert.is_true(counts[1] > 100 and counts[2] > 100)
  end)

  it("are held against each of those before them, which is named", function()
    local b = empty_builder(2)
    for second = 1, 5 do
      for first = 0, second - 1 do
        local pools = pools_t()
        for i = 0, 5 do pools[i] = place(128 * i) end
        pools[second] = place(128 * first + 8)
        assert.are.equal(gdn.EINVAL, (states(b, { num_pools = 6, pools = pools })))
        local named = ("^pools%%[%d%%] = 0x%%x+ overlaps pools%%[%d%%] = 0x%%x+: "):format(second, first)
        assert.matches(named, said(b))
      end
    end
    b:close()
  end)

  it("may end where the builder's tensors begin, and no byte later", function()
    local b = empty_builder(2)
    local first = math.huge
    for _, name in ipairs(schema.fields.tensors) do
      local view = b.metadata[name]
      if view and view.data ~= nil then
        first = math.min(first, tonumber(ffi.cast("uintptr_t", view.data)))
      end
    end
    -- Is a pool of 32 bytes taken that ends there?
    local function taken(at)
      local pools = pools_t(ffi.cast("void *", at - 32))
      local status = states(b, { pools = pools, slot_bytes = 16 })
      if status == 0 then return true end
      assert.matches("^pool = 0x%x+ with 32 bytes overlaps the builder's tensors$", said(b))
    end
    local low, high = first - 2 ^ 20, first + 1
    assert.is_true(taken(low) and not taken(high))
    while high - low > 1 do
      local middle = math.floor((low + high) / 2)
      if taken(middle) then low = middle else high = middle end
    end
    assert.are.equal(0, low % 64) -- where the arena begins
    b:close()
  end)

  it("have so many slots, so far apart, as 63 bits hold", function()
    for num_slots, want in pairs { [2 ^ 23] = 0, [2 ^ 23 + 1] = gdn.EINVAL, [2 ^ 22] = 0 } do
      local b = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_slots = num_slots,
                                     check_unique = false })
      local batch = b:batch()
      assert(b:build(batch))
      local status = states(b, { slot_bytes = 64, slot_stride = 2 ^ 40, pools = pools_t(place(0)) })
      assert.are.equal(want, status, said(b))
      if want ~= 0 then
        assert.are.equal("num_slots = 8388609 slots, 1099511627776 bytes from one to the next, are no "
          .. "64-bit memory", said(b))
      end
      batch:close()
      b:close()
    end
  end)

  it("have a last value and a first one past it in every number", function()
    local one, drafts = empty_builder(1), empty_builder(5, 2)
    local MIB = 2 ^ 20
    local STATES = {
      { "size", 0, 47 }, { "group", -1, 0, 1 }, { "spec_rows", -1, 0, 1, 2, 3 },
      { "num_pools", 0, 1, 2, 64, 65 }, { "slot_bytes", 0, 1, 64 * MIB, 64 * MIB + 1, -1 },
      { "slot_stride", 15, 16, 2 ^ 40, 2 ^ 40 + 1, -1 },
    }
    local WINDOWS = {
      { "size", 0, 71 }, { "group", -1, 0, 1 }, { "spec_rows", -1, 0, 1, 2, 3 },
      { "windows_in", -1, 0, 1, 2, 3 }, { "num_pools", 0, 1, 65 },
      { "channels", -1, 0, 1, 2 ^ 23, 2 ^ 23 + 1, 2 ^ 24, 2 ^ 24 + 1 },
      { "length", -1, 0, 1, 2, 3, 1024, 1025 }, { "element_bytes", -1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 16 },
    }
    for name, b in pairs { one = one, drafts = drafts } do
      for method, cases in pairs { states = STATES, windows = WINDOWS } do
        local call = method == "states" and states or windows
        local lines = {}
        for _, case in ipairs(cases) do
          for k = 2, #case do
            local fields = { [case[1]] = case[k] }
            if case[1] == "num_pools" then
              local pools = pools_t()
              for i = 0, 65 do pools[i] = place(128 * i) end
              fields.pools = pools
            end
            if case[1] == "channels" then fields.element_bytes = 1 end
            local status, pools = call(b, fields)
            lines[#lines + 1] = ("%s %s %.0f: %s"):format(method, case[1], case[k],
              status == 0 and "taken" or said(b):gsub("0x%x+", "ADDRESS"))
            assert(pools)
          end
        end
        notes.note(name, "\n" .. table.concat(lines, "\n"))
        notes.check("pools-" .. name .. "-" .. method)
        notes.clear()
      end
    end
    for dimension = 0, 2 do
      for _, value in ipairs { -1, 0, 1, 2 ^ 40, 2 ^ 40 + 1 } do
        local strides = int64_3(8, 4, 1)
        strides[dimension] = value
        local status = windows(one, { strides = strides })
        note("strides", dimension, value, status == 0 and "taken" or said(one))
      end
    end
    for _, strides in ipairs { { 7, 4, 1 }, { 8, 3, 1 }, { 9, 1, 2 }, { 2 ^ 40, 2 ^ 39, 2 ^ 38 } } do
      local status = windows(drafts, { strides = int64_3(strides) })
      note("strides", strides, status == 0 and "taken" or said(drafts):gsub("0x%x+", "ADDRESS"))
    end
    local cases = { none = {}, null = { pools = pools_t() }, no_list = { pools = ffi.cast("void **", nil) },
                    odd = { pools = pools_t(place(1)) } }
    for _, name in ipairs { "none", "null", "no_list", "odd" } do
      local status = states(one, cases[name])
      note("states", name, status == 0 and "taken" or said(one):gsub("0x%x+", "ADDRESS"))
      status = windows(one, cases[name])
      note("windows", name, status == 0 and "taken" or said(one):gsub("0x%x+", "ADDRESS"))
    end
    local far = { pools = pools_t(ffi.cast("void *", -64LL)), slot_bytes = 128 }
    note("states far", states(one, far), (said(one):gsub("0x%x+", "ADDRESS")))
    check "pools"
    one:close()
    drafts:close()
  end)
end)
