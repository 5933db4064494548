-- C's gdn_raw and gdn_bucket with every number another, without Lua's own checks before them: which values
-- are taken, and what is said of the others, against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"

local int32s = gdn.array_of "int32_t"
local notes = noted.new "c-raw-"
local note, check = notes.note, notes.check
local RULES = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" }

-- Three rows, the last one padding, in a table of 4 columns whose rows are 5 apart: two that have drafts, a
-- decode and a prefill, or two speculative ones without drafts.
local ROWS, COLUMNS, STRIDE = 3, 4, 5
local DRAFTED = {
  query_start_loc = int32s(4, { 0, 4, 8, 8 }), seq_lens = int32s(4, { 9, 8, 0 }),
  num_accepted_tokens = int32s(4, { 2, 1, 1 }), num_decode_draft_tokens = int32s(4, { 3, 3, -1 }),
  prompt_done = int32s(4, { 1, 1, 1 }), read_column = int32s(4, { -2, -2, -2 }),
}
local PLAIN = {
  query_start_loc = int32s(4, { 0, 1, 8, 8 }), seq_lens = int32s(4, { 9, 8, 0 }),
  num_accepted_tokens = int32s(4, { 2, 1, 1 }), num_decode_draft_tokens = int32s(4, { -1, -1, -1 }),
  prompt_done = int32s(4, { 1, 1, 1 }), read_column = int32s(4, { -2, -2, -2 }),
}
local ONES = {
  query_start_loc = int32s(4, { 0, 1, 2, 2 }), seq_lens = int32s(4, { 9, 8, 0 }),
  num_accepted_tokens = int32s(4, { 2, 1, 1 }), num_decode_draft_tokens = int32s(4, { 0, 0, -1 }),
  prompt_done = int32s(4, { 1, 1, 1 }), read_column = int32s(4, { -2, -2, -2 }),
}
local arrays
local table_of = int32s(ROWS * STRIDE)
for k = 0, 2 * STRIDE - 1 do table_of[k] = 1 + k end -- padding rows have no blocks
local tables = ffi.new("const int32_t *[2]", table_of, table_of)

local COUNTS = { num_reqs = 2, num_actual_tokens = 8, max_query_len = 4, block_table_stride = STRIDE,
                 block_table_rows = ROWS, block_table_cols = COLUMNS, num_query_start_loc = ROWS + 1,
                 num_seq_lens = ROWS, num_num_accepted_tokens = ROWS, num_num_decode_draft_tokens = ROWS }
local NAMES = { "num_reqs", "num_actual_tokens", "max_query_len", "block_table_stride", "block_table_rows",
                "block_table_cols", "num_query_start_loc", "num_seq_lens", "num_num_accepted_tokens",
                "num_num_decode_draft_tokens" }
local POINTERS = { "query_start_loc", "seq_lens", "num_accepted_tokens", "num_decode_draft_tokens",
                   "prompt_done", "read_column" }

local function raw_of(rules)
  local raw = ffi.new "gdn_raw"
  raw.size = ffi.sizeof(raw)
  for name, value in pairs(COUNTS) do raw[name] = value end
  for name, values in pairs(arrays) do raw[name] = values end
  raw.block_tables = tables
  if rules == "strict" then raw.num_reqs = ROWS end
  if rules ~= "strict" then raw.read_column = nil end
  return raw
end

describe("C's raw inputs", function()
  before_each(notes.clear)

  for _, rules in ipairs(RULES) do
    it("are taken or refused under " .. rules, function()
      local builder = assert(gdn.builder {
        device = "cpu", rules = rules, max_num_seqs = 4, num_groups = 2, max_num_batched_tokens = 20,
        num_slots = 99, num_speculative_tokens = 3, full_cuda_graph = true,
      })
      local lists, order = {}, {} -- the values of which one thing is said
      local function try(name, value, raw)
        for _, call in ipairs { "build_raw", "capture" } do
          local status = tonumber(lib["gdn_" .. call](builder.handle, raw, nil))
          local m = lib.gdn_builder_metadata(builder.handle)
          local said = status == 0 and ("taken: %d %d %d %d"):format(m.num_decodes, m.num_prefills,
            m.num_spec_decodes, m.num_actual_tokens) or ffi.string(lib.gdn_last_error(builder.handle))
          value = type(value) == "number" and ("%d"):format(value) or value
          if status ~= 0 then said = (said:gsub(" = " .. value:gsub("%p", "%%%0") .. ",", " = THIS,", 1)) end
          local key = ("%s %s %d %s"):format(name, call, status, said)
          if not lists[key] then order[#order + 1] = key end
          lists[key] = (lists[key] or "") .. " " .. value
        end
      end
      local function try_all()
        try("nothing", "changed", raw_of(rules))
        for _, name in ipairs(NAMES) do
          for _, value in ipairs { -1, 0, 1, 2, 3, 4, 5, 6, 20, 21, 2 ^ 31 - 1 } do
            local raw = raw_of(rules)
            local array = name:match "^num_(.*)$"
            -- More elements than there are would be read.
            local most = arrays[array] and ROWS + 1 or name == "block_table_stride" and STRIDE
            if not most or value <= most then
              raw[name] = value
              try(name, value, raw)
            end
          end
        end
        for _, name in ipairs(POINTERS) do
          local raw = raw_of(rules)
          raw[name] = nil
          try(name, "NULL", raw)
          for _, value in ipairs { -2147483648, -2, -1, 0, 1, 2, 3, 4, 5, 99, 2147483647 } do
            for at = 0, ROWS - 1 do
              local changed, copy = raw_of(rules), int32s(ROWS + 1)
              ffi.copy(copy, arrays[name], 4 * (ROWS + 1))
              copy[at] = value
              changed[name] = copy
              try(name .. "[" .. at .. "]", value, changed)
            end
          end
        end
        local raw = raw_of(rules)
        for _, size in ipairs { 0, ffi.sizeof(raw) - 4, ffi.sizeof(raw) + 4 } do
          raw.size = size
          try("size", size, raw)
        end
        for group = -1, 1 do
          raw = raw_of(rules)
          local some = ffi.new("const int32_t *[2]", table_of, table_of)
          if group >= 0 then some[group] = nil end
          raw.block_tables = group >= 0 and some or nil
          try("no table", group, raw)
        end
      end
      for _, base in ipairs { { "drafts", DRAFTED }, { "plain", PLAIN }, { "ones", ONES } } do
        lists, order, arrays = {}, {}, base[2]
        try_all()
        for _, key in ipairs(order) do note(base[1], key, "|" .. lists[key]) end
      end
      builder:close()
      check(rules)
    end)
  end

  it("of a bucket, too", function()
    local why, out = ffi.new "char[300]", ffi.new "gdn_metadata"
    for graph = 0, 2 do
      local config = ffi.new "gdn_config"
      lib.gdn_config_init(config)
      config.max_num_seqs, config.max_num_batched_tokens, config.full_cuda_graph = 4, 20, graph
      for _, c in ipairs { { -1, 8 }, { 0, 8 }, { 4, 8 }, { 5, 8 }, { 4, -1 }, { 4, 0 }, { 4, 20 },
                           { 4, 21 } } do
        ffi.fill(why, 300)
        local status = tonumber(lib.gdn_bucket(config, c[1], c[2], out, why, 300))
        note("bucket", graph, c, status, status == 0 and tonumber(out.non_spec_query_start_loc.shape[0])
          or ffi.string(why))
        assert.are.equal(status, tonumber(lib.gdn_bucket(config, c[1], c[2], out, nil, 300)))
        if status == 0 then -- whatever stood there
          local other = ffi.new "gdn_metadata"
          ffi.fill(other, ffi.sizeof(other), 0xa5)
          assert.are.equal(0, tonumber(lib.gdn_bucket(config, c[1], c[2], other, why, 300)))
          assert.is_true(ffi.string(out, ffi.sizeof(out)) == ffi.string(other, ffi.sizeof(other)))
        end
      end
      ffi.fill(why, 300, 65)
      note("no byte", tonumber(lib.gdn_bucket(config, -1, 8, out, why, 0)), ffi.string(why, 1))
      note("one byte", tonumber(lib.gdn_bucket(config, -1, 8, out, why, 1)), ffi.string(why))
    end
    check "bucket"
  end)
end)
