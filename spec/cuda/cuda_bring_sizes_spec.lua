-- States and windows of every size at which a launch copies otherwise, at every alignment: one, two and many
-- loads a thread, one piece and several, one word of marks and several, one stretch of rows and two. The CPU
-- and a device move the bytes that the header names, and no other; how a launch does it is in
-- spec/goldens/texts.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"
local bring_memory = require "spec.support.bring_memory"
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"
local steps = require "spec.support.bring_steps"

local bytes_t = array_of "uint8_t"
local notes = noted.new "bring-"

describe("Bringing", function()
  local driver, stream
  before_each(function()
    driver = drivers.open "fake"
    stream = driver:stream()
    math.randomseed(7)
    notes.clear()
  end)
  after_each(function() driver:close() end)

  -- Row i reads slot 3 i + accepted; those that `moves` names have another slot to write.
  local function built(device, rows, moves)
    local c = { num_slots = 3 * rows + 1, mode = "none" }
    c.builder = assert(gdn.builder { device = device, max_num_seqs = rows, num_speculative_tokens = 2,
                                     num_slots = c.num_slots, max_num_batched_tokens = 3 * rows })
    local batch = c.builder:batch()
    for row = 0, rows - 1 do
      local accepted = moves(row)
      for k = 0, 2 do c.builder:table(0)[3 * row + k] = 3 * row + k + 1 end
      assert(batch:push(row, 1, 20, true, -1, accepted, accepted - 1))
    end
    c.meta = assert(c.builder:build(batch, device == "cuda" and stream or nil))
    batch:close()
    return c
  end

  local function try(sides, p, where)
    local before, want, count = steps.noise(p.size), nil, nil
    for device, c in pairs(sides) do
      if not want then want, count = steps.brought(c, sides.cpu.meta, p, before) end
      local got
      if device == "cuda" then
        local memory = bring_memory(driver, stream, p.size)
        memory.write(before, p.size)
        assert(steps.bring(c, p, 0, memory.address, stream))
        got = memory.read(p.size)
        driver:free(memory.address)
      else
        got = bytes_t(p.size)
        ffi.copy(got, before, p.size)
        assert(steps.bring(c, p, 0, got))
      end
      if ffi.string(got, p.size) ~= ffi.string(want, p.size) then
        for i = 0, p.size - 1 do
          if got[i] ~= want[i] then
            error(("%s on %s: byte %d is %d, want %d"):format(where, device, i, got[i], want[i]), 0)
          end
        end
      end
    end
    return count
  end

  local function both(rows, moves)
    return { cpu = built("cpu", rows, moves), cuda = built("cuda", rows, moves) }
  end

  local function close(sides)
    for _, c in pairs(sides) do c.builder:close() end
  end

  it("states of every size", function()
    local sides = both(3, function(row) return row + 1 end) -- row 0 has nothing to bring
    for _, bytes in ipairs { 1, 2, 3, 4, 6, 7, 8, 12, 15, 16, 17, 24, 31, 255, 256, 257, 511, 512, 768, 769,
                             1023, 1024, 1025, 1536, 2048, 3072, 3073, 4095, 4096, 4097, 8192, 12288, 16383,
                             16384, 16385, 16392, 32767, 32768, 32769 } do
      for _, gap in ipairs { 0, 1, 2, 4, 8 } do
        for _, first in ipairs(bytes > 5000 and { 0, 4 } or { 0, 1, 2, 4, 8 }) do
          local p = { windows = false, slot_bytes = bytes, slot_stride = bytes + gap, offsets = { first } }
          p.size = first + sides.cpu.num_slots * p.slot_stride + 16
          local moves = try(sides, p, ("%d bytes, %d apart, at %d"):format(bytes, bytes + gap, first))
          notes.note("states", bytes, gap, first, moves, driver:count "unit", driver:count "pieces")
        end
      end
    end
    close(sides)
    notes.check "state-sizes"
  end)

  it("windows of every size", function()
    local sides = both(3, function(row) return row + 1 end)
    for _, channels in ipairs { 1, 2, 255, 256, 257, 512, 513 } do
      for _, length in ipairs { 3, 4, 8, 9, 10, 11, 17, 18, 19 } do
        for _, element in ipairs { 1, 2, 4, 8 } do
          for _, inner in ipairs { { length, 1 }, { 1, channels }, { 2 * length, 2 }, { length + 1, 1 } } do
            local span = (channels - 1) * inner[1] + (length - 1) * inner[2] + 1
            local p = { windows = true, channels = channels, length = length, element_bytes = element,
                        strides = { span + 1, inner[1], inner[2] }, offsets = { element } }
            p.size = element * (2 + sides.cpu.num_slots * (span + 1))
            for _, where in ipairs { "first", "every" } do
              p.windows_in = where
              local moves = try(sides, p, ("%d channels of %d, %d bytes, strides %d, %d"):format(channels,
                length, element, inner[1], inner[2]))
              if element == 1 and inner[1] == length then
                notes.note("windows", channels, length, where, moves, driver:count "pieces")
              end
            end
          end
        end
      end
    end
    close(sides)
    notes.check "window-sizes"
  end)

  it("of as many rows as words and stretches have, one more and one less", function()
    for _, rows in ipairs { 1, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 1056, 2049 } do
      for way, moves in ipairs {
        function() return 2 end, function() return 1 end, function(row) return row % 32 == 31 and 3 or 1 end,
        function(row) return row % 32 == 0 and 2 or 1 end,
        function(row) return row == rows - 1 and 2 or 1 end,
        function(row) return row % 3 + 1 end, function(row) return row % 1024 < 1000 and 1 or 2 end,
      } do
        local sides = both(rows, moves)
        local p = { windows = false, slot_bytes = 4, slot_stride = 4, offsets = { 0 } }
        p.size = 4 * sides.cpu.num_slots + 16
        local before = driver:count "blocks"
        local count = try(sides, p, ("%d rows, way %d"):format(rows, way))
        notes.note("rows", rows, way, count, driver:count "blocks" - before)
        close(sides)
      end
    end
    notes.check "row-counts"
  end)
end)
