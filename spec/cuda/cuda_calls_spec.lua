-- Builders that check, checks, and states that are brought, on a device: every driver call fails once, and
-- what is said of it, against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local each_call = require "spec.support.note_each_call"
local noted = require "spec.support.noted"

local notes = noted.new "cuda-"
local note, check = notes.note, notes.check
local OPTIONS = { device = "cuda", max_num_seqs = 4, max_num_batched_tokens = 8, num_slots = 16, check = true,
                  max_blocks_per_row = 2 }

describe("When a driver call fails", function()
  local driver, live
  before_each(function()
    notes.clear()
    driver = drivers.open "fake"
    live = driver:count "live"
  end)
  after_each(function()
    driver.lib.fake_reset()
    driver:close()
  end)

  local function built()
    local builder = assert(gdn.builder(OPTIONS))
    local batch = assert(builder:batch())
    batch:add { query_len = 1, seq_len = 9, blocks = { 3, 5 }, prompt_done = true, read_column = 1 }
    assert(builder:build(batch))
    return builder, batch
  end

  -- A status and what is said, of a method that returns nil, message, code.
  local function status_of(result, message, code) return result and 0 or code, message end

  it("no builder that checks is made, and all goes back", function()
    each_call(driver, note, "make", function()
      local builder, message, code = gdn.builder(OPTIONS)
      if builder then
        driver.lib.fake_reset()
        builder:close()
      end
      assert.are.equal(live, driver:count "live")
      if message and message:find("without nvcc", 1, true) then message = "cuModuleLoadData, or no kernel" end
      if message then message = message:gsub("cuModuleLoadData: .*", "cuModuleLoadData, or no kernel") end
      return status_of(builder, message, code)
    end)
    check "made"
  end)

  it("a check is refused, and found to be", function()
    local builder, batch = built()
    each_call(driver, note, "check", function()
      local status = tonumber(lib.gdn_check(builder.handle, nil))
      return status, ffi.string(lib.gdn_last_error(builder.handle))
    end)
    each_call(driver, note, "build", function()
      local status, said = status_of(builder:build(batch))
      if status ~= 0 then return status, said end
      return status_of(builder:take_check_result())
    end)
    note("steps", builder.metadata.step)
    check "checked"
  end)

  it("no element is read, and it is said", function()
    local builder, batch = built()
    each_call(driver, note, "read", function()
      local status, said = status_of(builder:build(batch))
      if status ~= 0 then return status, said end
      local ok, value = pcall(function() return builder.metadata.non_spec_query_start_loc[1] end)
      return ok and value - 1 or "raises", value
    end)
    batch:clear()
    batch:add { query_len = 3, seq_len = 3, blocks = { 4, 6 } }
    local meta = assert(builder:build(batch))
    local seen = {}
    for _, name in ipairs { "has_initial_state", "chunk_indices", "non_spec_query_start_loc",
                            "prefill_has_initial_state", "checkpoint_cu_starts" } do
      local view = meta[name]
      for n = 1, view and 6 or 0 do
        driver.lib.fake_fail(n, 719)
        local _, message = pcall(function() return view:totable() end)
        driver.lib.fake_reset()
        local bytes = tostring(message):match "cuMemcpyDtoHAsync of (%d+) bytes: "
        if bytes then
          local size = ({ bool = 1, int32 = 4, int64 = 8 })[view.dtype]
          assert.are.equal(view.shape[1] * (view.shape[2] or 1) * size, tonumber(bytes))
          seen[view.dtype] = true
          break
        end
      end
    end
    assert.is_true(seen.bool and seen.int32)
    check "read"
  end)

  it("nothing is brought, and nothing counts as a launch", function()
    local builder = built()
    local pool = driver:int32(16 * 16)
    each_call(driver, note, "states", function()
      local before = builder:counters().launches
      local status, said = status_of(builder:bring_states { pool = pool, slot_bytes = 64 })
      assert.are.equal(status == 0 and 1 or 0, builder:counters().launches - before)
      return status, said and said:gsub("0x%x+", "ADDRESS")
    end)
    check "brought"
  end)

  it("each pool is looked at, the last one too", function()
    local builder, on_host = built(), ffi.new "char[1024]"
    for n = 1, 3 do
      for wrong = 0, n do
        local pools = {}
        for i = 1, n do pools[i] = i == wrong and on_host or driver:int32(256) end
        local status, said = status_of(builder:bring_states { pool = pools, slot_bytes = 64 })
        note("pools", n, wrong, status, said and said:gsub("0x%x+", "ADDRESS"))
      end
    end
    check "pools"
  end)

  -- Also past the tensor's end: the graph of a larger step reads there.
  it("what a refused build was to write is written by the next one", function()
    local function step(builder, batch, rows, padded)
      batch:clear()
      for i = 1, rows do
        assert(batch:add { query_len = 1, seq_len = 9, blocks = { 2 * rows + i }, prompt_done = true })
      end
      assert(batch:pad(padded, padded))
      return builder:build(batch)
    end
    local options = { max_num_seqs = 8, num_slots = 64, full_cuda_graph = true, device = "cpu" }
    local on_cpu = assert(gdn.builder(options))
    options.device = "cuda"
    local builder = assert(gdn.builder(options))
    local its_batch, batch, met = on_cpu:batch(), builder:batch(), 0
    local function slots(of)
      local to = ffi.new "int32_t[8]"
      local at = lib.gdn_builder_metadata(of.handle).non_spec_state_indices_tensor.data
      assert(lib.gdn_builder_read(of.handle, to, at, 32) == 0)
      return table.concat({ to[0], to[1], to[2], to[3], to[4], to[5], to[6], to[7] }, " ")
    end
    for call = 1, 3 do
      for first = 1, 8 do
        for last = 1, 7 do
          assert(step(builder, batch, first, 8))
          assert(step(on_cpu, its_batch, first, 8))
          driver.lib.fake_fail(call, 719)
          met = met + (step(builder, batch, 1, 2) and 0 or 1)
          driver.lib.fake_reset()
          assert(step(builder, batch, last, last))
          assert(step(on_cpu, its_batch, last, last))
          assert.are.equal(slots(on_cpu), slots(builder), ("%d, call %d, %d"):format(first, call, last))
        end
      end
    end
    assert.is_true(met > 100, met)
  end)

  it("a step that comes again is skipped, whatever came before it", function()
    local builder = assert(gdn.builder { max_num_seqs = 8, num_slots = 64, full_cuda_graph = true,
                                         device = "cuda" })
    local batch = builder:batch()
    local function skipped(rows, padded)
      local before = builder:counters().skipped
      batch:clear()
      for i = 1, rows do
        assert(batch:add { query_len = 1, seq_len = 9, blocks = { 2 * rows + i }, prompt_done = true })
      end
      assert(batch:pad(padded, padded))
      assert(builder:build(batch))
      return builder:counters().skipped - before
    end
    for first = 1, 8 do
      for rows = 1, 7 do
        for padded = rows, 8 do
          skipped(first, 8)
          skipped(rows, padded)
          assert.are.equal(1, skipped(rows, padded), ("%d of %d after %d"):format(rows, padded, first))
          assert.are.equal(1, skipped(rows, padded))
        end
      end
    end
  end)
end)
