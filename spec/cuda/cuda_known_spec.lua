-- A step that comes again is known before it is partitioned and its slots are looked at, which is most of
-- what it costs: src/builder/repeat.c. Slots that are looked at take stamps.
local ffi = require "ffi"

require("spec.support.counted_library").use() -- before gdnmeta is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local drivers = require "spec.support.driver"
local steps = require "spec.support.small_steps"
ffi.cdef "uint32_t gdn_counted_stamp_of(const gdn_builder *b);"

local bytes_of = gdn.array_of "uint8_t"

local ROWS = 8
local SIZES = { [0] = 4, 8, 1, 1 } -- of an element, by dtype

describe("A step that comes again", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  for _, groups in ipairs { 1, 3 } do
    for _, own in ipairs { false, true } do
      local where = own and "of the batch" or "in tables"
      it(("is not looked at: %d groups, blocks %s"):format(groups, where), function()
        local builder = assert(gdn.builder { device = "cuda", max_num_seqs = ROWS, num_speculative_tokens = 1,
          num_groups = groups, num_slots = 999 })
        local batch, stream = assert(builder:batch()), driver:stream()
        for g = 0, groups - 1 do
          for i = 0, ROWS * 2 - 1 do builder:table(g)[i] = 1 + i end
        end
        for row = 0, ROWS - 2 do
          if own then
            local blocks = {}
            for g = 1, groups do blocks[g] = { 2 * row + 1, 2 * row + 2 } end
            assert(batch:add { query_len = 2, seq_len = 9, drafts = 1, accepted = 1, prompt_done = true,
                               blocks = blocks })
          else
            assert(batch:push(row, 2, 9, true, 1, 1))
          end
        end
        local function stamps() -- that a build takes
          local before = lib.gdn_counted_stamp_of(builder.handle)
          assert(builder:build(batch, stream))
          return lib.gdn_counted_stamp_of(builder.handle) - before
        end
        for round = 1, 3 do
          assert.is_true(stamps() > 0) -- another step
          stamps()
          for _ = 1, 3 do
            assert.are.equal(0, (stamps()))
            for i = 0, ROWS - 2 do batch.rows.seq_len[i] = batch.rows.seq_len[i] + 1 end
          end
          batch.rows.num_accepted_tokens[round] = 2
        end
        batch:close()
        builder:close()
      end)
    end
  end
end)

-- What a builder says that knows the step before is what a new one says: of the same rows, and other numbers.
describe("A step of the same rows", function()
  local driver, stream
  setup(function()
    driver = drivers.open "fake"
    stream = driver:stream()
  end)
  teardown(function() driver:close() end)

  local BASES = { { { 1, 3, -1, 1, 1, -2 }, { 1, 4, -1, 2, 1, -2 }, { 1, 5, -1, 1, 1, -2 } },
                  { { 2, 5, 1, 1, 1, -2 }, { 2, 6, 1, 1, 1, -2 } },
                  { { 2, 5, 1, 1, 1, -2 }, { 2, 5, -1, 1, 0, -2 } } }
  local CHANGES = {} -- of vLLM's arguments
  for _, name in ipairs { "num_reqs", "num_actual_tokens", "max_query_len", "num_num_accepted_tokens" } do
    for value = 0, 5 do CHANGES[#CHANGES + 1] = { name, value } end
  end

  local function outputs(builder, status)
    if status ~= 0 then return { status, ffi.string(lib.gdn_last_error(builder.handle)) } end
    driver:call("cuStreamSynchronize", stream)
    local meta, seen = lib.gdn_builder_metadata(builder.handle), {}
    for _, name in ipairs(compare.SCALARS) do seen[name] = tonumber(meta[name]) end
    for _, list in ipairs { compare.TENSORS, compare.STATE } do
      for _, name in ipairs(list) do
        local t = meta[name]
        local bytes = t.data == nil and 0 or t.shape[0] * t.shape[1] * SIZES[t.dtype]
        local copy = bytes_of(bytes + 1)
        if bytes > 0 then assert(lib.gdn_builder_read(builder.handle, copy, t.data, bytes) == 0) end
        seen[name] = t.data ~= nil and { t.shape[0], t.shape[1], ffi.string(copy, bytes) }
      end
    end
    seen.step = nil
    return seen
  end

  local function player(world)
    local builder, batch = steps.open(world, "cuda", { check = false })
    local raw, arrays = steps.raw(builder)
    return {
      raw = function(rows, change)
        steps.write_raw(raw, arrays, rows)
        if change then raw[change[1]] = change[2] end
        return outputs(builder, tonumber(lib.gdn_build_raw(builder.handle, raw, stream)))
      end,
      batch = function(rows, padded)
        steps.write(batch.rows, rows)
        batch.rows.padded_rows = padded or 0
        return outputs(builder, tonumber(lib.gdn_build(builder.handle, batch.rows, stream)))
      end,
      close = function()
        batch:close()
        builder:close()
      end,
    }
  end

  for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
    it("is another one where a number beside them is another: " .. rules, function()
      local world = { rules = rules, full_cuda_graph = true, max_cudagraph_capture_size = 4 }
      for b, rows in ipairs(BASES) do
        local old = player(world)
        local function check(what, before, ...)
          for _ = 1, 3 do before() end
          local new = player(world)
          assert.are.same({ b, what, new[...](select(2, ...)) }, { b, what, old[...](select(2, ...)) })
          new.close()
        end
        for _, change in ipairs(CHANGES) do
          local what = change[1] .. " " .. change[2]
          check(what, function() old.raw(rows) end, "raw", rows, change)
          check(what .. ", and back", function() old.raw(rows, change) end, "raw", rows)
        end
        local longer = { unpack(rows) } -- padding that the host writes, and that the build makes
        longer[#rows + 1] = { 0, 0, -1, 1, 0, -1 }
        check("padding of the build's", function() old.batch(longer) end, "batch", rows, #rows + 1)
        check("padding of the host's", function() old.batch(rows, #rows + 1) end, "batch", longer)
        check("a batch", function() old.raw(rows) end, "batch", rows)
        check("vLLM's arguments", function() old.batch(rows) end, "raw", rows)
        old.close()
      end
    end)
  end
end)
