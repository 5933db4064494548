-- Builders with inputs on the device, whose arrays have just as many rows as their steps and end where a page
-- does: no build of all rows goes past an end, and it says what one with larger arrays says.
local ffi = require "ffi"

require("spec.support.counted_library").use() -- before gdnmeta is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
pcall(ffi.cdef, "void gdn_counted_page_ends(int wanted);")

local S, WIDTH = 2, 3
local NAMES = { "non_spec_state_indices_tensor", "non_spec_read_state_indices", "spec_state_indices_tensor",
                "spec_read_state_indices", "num_accepted_tokens", "has_initial_state", "non_spec_conv_shift" }

describe("Arrays at the ends of pages are enough for inputs on the device:", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  -- { query_len, drafts, is it fresh? } of row i of n.
  local KINDS = {
    decodes = function() return 1, nil, false end,
    speculative = function() return S + 1, S, false end,
    mixed = function(i, n)
      if i < n / 3 then return S + 1, S, false end
      if i < 2 * n / 3 then return 1, nil, false end
      return 7, nil, i > 5 * n / 6
    end,
  }

  local function outputs(rows, room, kind, lent)
    local is_tight = room == 0
    lib.gdn_counted_page_ends(is_tight and 1 or 0)
    local builder = assert(gdn.builder { device = "cuda", max_num_seqs = rows, max_rows = rows + room,
                                         num_speculative_tokens = S, num_slots = rows * WIDTH + 1,
                                         max_requests = rows, max_num_batched_tokens = 8 * rows })
    local batch = assert(builder:batch())
    lib.gdn_counted_page_ends(0)
    local lens, accepted, cells = {}, {}, {}
    for i = 0, rows - 1 do
      local q, _, is_fresh = KINDS[kind](i, rows)
      lens[i + 1], accepted[i + 1] = is_fresh and q or q + 9 + i, 1 + i % (S + 1)
      for k = 1, WIDTH do cells[i * WIDTH + k] = i * WIDTH + k end
      builder:set_blocks(0, i, { unpack(cells, i * WIDTH + 1, (i + 1) * WIDTH) })
    end
    local function array(values)
      local memory = driver:int32(#values)
      driver:write(memory, values)
      return memory, #values
    end
    if lent.lens then assert(builder:borrow_device_seq_lens(array(lens))) end
    if lent.accepted then assert(builder:borrow_device_accepted(array(accepted))) end
    if lent.cells then assert(builder:borrow_device_table(0, array(cells), WIDTH, rows)) end
    local seen = {}
    for step = 1, 2 do
      batch:clear()
      for i = 0, rows - 1 do
        local q, drafts, is_fresh = KINDS[kind](i, rows)
        assert(batch:push(i, q, lent.lens and 0 or lens[i + 1], not is_fresh and q <= S + 1, drafts,
                          lent.accepted and 77 or accepted[i + 1], is_fresh and -1 or nil))
        if step == 2 then batch:index(i, rows - 1 - i, i) end
      end
      local meta = assert(builder:build(batch))
      for k, name in ipairs(NAMES) do seen[#seen + 1] = meta[name] and meta[name]:totable() or k end
      seen[#seen + 1] = (builder:take_device_error()) == true -- which of several is named, chance decides
    end
    batch:close()
    builder:close()
    driver:free_all()
    return seen
  end

  for kind in pairs(KINDS) do
    it(kind, function()
      for _, rows in ipairs { 1, 3, 4, 5, 16 } do
        for _, lent in ipairs { { lens = true }, { accepted = true }, { cells = true },
                                { lens = true, accepted = true, cells = true } } do
          assert.are.same(outputs(rows, 5, kind, lent), outputs(rows, 0, kind, lent))
        end
      end
    end)
  end
end)
