-- NULL in place of every pointer of every function of the headers, one at a time: refused, or what the header
-- says.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local blocks = require "spec.support.blocks"
local golden = require "spec.support.golden"
local records = require "spec.support.step_records"

local NULL = ffi.cast("void *", 0)
local INVALID = lib.GDN_EINVAL

local TRUE, HELLO_BYTES, STEP_BYTES, RESULT_BYTES = "true", nil, nil, nil

-- Things to pass. Fresh for every call: some calls free what they are given.
local function things()
  local t = {}
  t.config, t.out, t.why = ffi.new "gdn_config", ffi.new "gdn_builder *[1]", ffi.new "char[200]"
  lib.gdn_config_init(t.config)
  t.mixed = ffi.new "gdn_config"
  lib.gdn_config_init(t.mixed)
  t.mixed.full_cuda_graph = lib.GDN_GRAPH_MIXED
  t.config.max_num_seqs, t.config.max_num_batched_tokens, t.config.check = 4, 64, 1
  assert(lib.gdn_builder_new(t.config, t.out, nil, 0) == 0)
  t.builder = t.out[0]
  t.batch_out = ffi.new "gdn_batch *[1]"
  assert(lib.gdn_batch_new(t.builder, t.batch_out) == 0)
  t.batch = t.batch_out[0]
  assert(lib.gdn_build(t.builder, t.batch, nil) == 0)
  t.meta = lib.gdn_builder_metadata(t.builder)
  t.slots_out, t.heap_out = ffi.new "gdn_slots *[1]", ffi.new "gdn_heap *[1]"
  t.ints, t.doubles = ffi.new("int32_t[16]", 8, 8, 8), ffi.new "double[16]"
  assert(lib.gdn_slots_new(1, t.ints, t.slots_out) == 0 and lib.gdn_heap_new(8, t.heap_out) == 0)
  t.slots, t.heap = t.slots_out[0], t.heap_out[0]
  t.cells = ffi.new "int32_t *[1]"
  t.cells[0] = t.ints
  t.index_out, t.hit = ffi.new "gdn_index *[1]", ffi.new "gdn_index_hit"
  t.ids, t.watch = ffi.new("int64_t[16]", 1, 2, 3), ffi.new "gdn_index_watch"
  t.index_config = ffi.new("gdn_index_config", ffi.sizeof "gdn_index_config", 1, 4, 1, 8, 64)
  assert(lib.gdn_index_new(t.index_config, t.index_out, nil, 0) == 0)
  t.index, t.slots_of, t.published = t.index_out[0], ffi.new("int32_t[1]", 5), ffi.new "gdn_index_published"
  lib.gdn_index_publish(t.index, t.ids, 2, t.ints, t.slots_of, 0, 0, -1, t.published)
  lib.gdn_index_advance(t.index, 1)
  t.kv_config = ffi.new("gdn_kv_config", 8, 4, 4, 4, 1)
  t.kv_out = ffi.new "gdn_kv *[1]"
  assert(lib.gdn_kv_new(t.builder, t.kv_config, t.kv_out) == 0)
  t.kv = t.kv_out[0]
  assert(lib.gdn_kv_extend(t.kv, 0, 3) == 0)
  t.hello, t.hello_out = ffi.new "gdn_hello", ffi.new "gdn_hello"
  assert(lib.gdn_hello_init(t.builder, t.hello) == 0)
  t.memory, t.hello_record, t.step_record = records.memory(4096), records.memory(4096), records.memory(4096)
  t.step, t.step_out = ffi.new "gdn_step_record", ffi.new "gdn_step_record"
  t.step.number, t.step.kind, t.step.num_groups, t.step.columns = 1, lib.GDN_STEP_STOP, 1, 1
  t.result, t.result_out = ffi.new "gdn_result_record", ffi.new "gdn_result_record"
  t.result_record = records.memory(512)
  HELLO_BYTES = tonumber(lib.gdn_hello_pack(t.hello, t.hello_record, 4096, nil, 0))
  STEP_BYTES = tonumber(lib.gdn_step_pack(t.step, t.hello, t.step_record, 4096, nil, 0))
  RESULT_BYTES = tonumber(lib.gdn_result_pack(t.result, t.result_record, 512, nil, 0))
  t.sent, t.channel_out = ffi.new "gdn_kv_sent[4]", ffi.new "gdn_channel *[1]"
  assert(lib.gdn_channel_new(64, 64, t.channel_out, nil, 0) == 0)
  t.channel, t.process_out = t.channel_out[0], ffi.new "gdn_process *[1]"
  t.arguments, t.environment = ffi.new "const char *[2]", ffi.new "const char *[1]"
  t.arguments[0] = TRUE
  t.process = t.process_out[0]
  t.raw = ffi.new "gdn_raw"
  t.raw.size = ffi.sizeof "gdn_raw"
  t.tensor = t.meta.non_spec_query_start_loc
  t.pool = ffi.new "char[1024]"
  t.pools = ffi.new("void *[1]", t.pool)
  t.states = ffi.new("gdn_state_pools", ffi.sizeof "gdn_state_pools", 0, 0, 1, t.pools, 8)
  t.windows = ffi.new("gdn_window_pools", ffi.sizeof "gdn_window_pools", 0, 0, 0, 1, 1, 1, 1, t.pools)
  return t
end

local function start_process(t)
  local descriptor = lib.gdn_channel_descriptor(t.channel)
  assert(lib.gdn_process_new(t.arguments, t.environment, descriptor, t.process_out, nil, 0) == 0)
  t.process = t.process_out[0]
end

-- name -> arguments (a string names a thing, or NULL_OK .. thing where NULL is allowed), what a NULL gives.
local EINVAL = function(got) return got == INVALID end
local NOTHING = function() return true end
local function gives(value) return function(got) return got == value end end
local CALLS = {
  gdn_abi = { {}, NOTHING }, gdn_version = { {}, NOTHING }, gdn_strstatus = { { 0 }, NOTHING },
  gdn_config_init = { { "config" }, NOTHING },
  gdn_builder_new = { { "config", "out", "?why", 200 }, EINVAL },
  gdn_builder_free = { { "?builder" }, NOTHING },
  gdn_builder_describe = { { "builder", ffi.new "gdn_builder_info" }, NOTHING },
  gdn_builder_bytes = { { "config", ffi.new "int64_t[1]", "?why", 200 }, EINVAL },
  gdn_last_error = { { "builder" }, function(got) return #ffi.string(got) > 0 end },
  gdn_builder_table = { { "builder", 0 }, gives(nil) },
  gdn_builder_borrow_table = { { "builder", 0, "?ints", 4, 4 }, EINVAL },
  gdn_builder_borrow_device_table = { { "builder", 0, "?ints", 4, 4 }, EINVAL },
  gdn_builder_borrow_device_seq_lens = { { "builder", "?ints", 4 }, EINVAL },
  gdn_builder_borrow_device_accepted = { { "builder", "?ints", 4 }, EINVAL },
  gdn_device_error = { { "builder", 0 }, EINVAL },
  gdn_builder_counters = { { "builder", ffi.new "gdn_counters" }, NOTHING },
  gdn_batch_new = { { "builder", "batch_out" }, EINVAL }, gdn_batch_free = { { "?batch" }, NOTHING },
  gdn_build = { { "builder", "batch", "?null" }, EINVAL },
  gdn_build_raw = { { "builder", "raw", "?null" }, EINVAL },
  gdn_capture = { { "builder", "raw", "?null" }, EINVAL },
  gdn_builder_metadata = { { "builder" }, gives(nil) },
  gdn_bucket = { { "mixed", 2, 8, ffi.new "gdn_metadata", "?why", 200 }, EINVAL },
  gdn_capture_bucket = { { "builder", 2, 8, "?null" }, EINVAL },
  gdn_metadata_group = { { "builder", 0, ffi.new "gdn_metadata" }, EINVAL },
  gdn_check_result = { { "builder", 0, "?violation" }, EINVAL },
  gdn_bring_states = { { "builder", "states", "?null" }, EINVAL },
  gdn_bring_windows = { { "builder", "windows", "?null" }, EINVAL },
  gdn_check = { { "builder", "?null" }, EINVAL },
  gdn_builder_read = { { "builder", "ints", "data", 4 }, EINVAL },
  gdn_tensor_export = { { "builder", "tensor", ffi.new "gdn_dlpack *[1]" }, EINVAL },
  gdn_tensor_export_unversioned = { { "builder", "tensor", ffi.new "gdn_dlpack_unversioned *[1]" }, EINVAL },
  gdn_builder_poison = { { "builder" }, NOTHING },
  gdn_reorder = { { 2, 1, "ints", "ints", "ints", "ints", "ints", "ints" }, EINVAL },
  gdn_builder_config = { { "builder", "config" }, NOTHING },
  gdn_kv_new = { { "builder", "kv_config", "kv_out" }, EINVAL }, gdn_kv_free = { { "?kv" }, NOTHING },
  gdn_kv_table = { { "kv" }, gives(nil) }, gdn_kv_mapping = { { "kv", 0 }, gives(nil) },
  gdn_kv_device_table = { { "kv" }, gives(nil) }, gdn_kv_device_mapping = { { "kv", 0 }, gives(nil) },
  gdn_kv_available = { { "kv" }, gives(0) }, gdn_kv_holders = { { "kv", 0 }, gives(0) },
  gdn_kv_length = { { "kv", 0 }, gives(0) }, gdn_kv_sole = { { "kv", 0 }, gives(0) },
  gdn_kv_extend = { { "kv", 0, 1 }, EINVAL }, gdn_kv_share = { { "kv", 0, "ints", 1 }, EINVAL },
  gdn_kv_hold = { { "kv", "ints", 1 }, EINVAL }, gdn_kv_take = { { "kv", 1, "ints" }, EINVAL },
  gdn_kv_drop = { { "kv", "ints", 1 }, EINVAL }, gdn_kv_clear = { { "kv", 0 }, EINVAL },
  gdn_kv_map = { { "kv", 0, 1, "ints", "ints", "ints", 8 }, EINVAL },
  gdn_kv_send = { { "builder", "kv", 0, 0, "?null" }, EINVAL },
  gdn_slots_new = { { 1, "ints", "slots_out" }, EINVAL }, gdn_slots_free = { { "?slots" }, NOTHING },
  gdn_slots_take = { { "slots", 0, 1, 0, "ints" }, EINVAL }, gdn_slots_share = { { "slots", 0, 1 }, EINVAL },
  gdn_slots_drop = { { "slots", 0, 1 }, EINVAL }, gdn_slots_available = { { "slots", 0 }, gives(0) },
  gdn_slots_owner = { { "slots", 0, 1 }, gives(-1) }, gdn_slots_holders = { { "slots", 0, 1 }, gives(0) },
  gdn_slots_generation = { { "slots", 0, 1 }, gives(0) },
  gdn_slots_describe = { { "slots", 0, ffi.new "gdn_slots_stats" }, EINVAL },
  gdn_slots_least = { { "slots" }, gives(0) },
  gdn_slots_take_each = { { "slots", 1, 0, "cells", 0 }, EINVAL },
  gdn_slots_drop_each = { { "slots", "cells", 0 }, EINVAL },
  gdn_slots_share_each = { { "slots", "ints", "?cells", 0 }, EINVAL },
  gdn_slots_drop_list = { { "slots", "ints" }, EINVAL },
  gdn_slots_copy_each = { { "slots", "cells", 0, "ints" }, EINVAL },
  gdn_slots_move_each = { { "slots", "cells", 0, 1, 0 }, EINVAL },
  gdn_heap_new = { { 8, "heap_out" }, EINVAL }, gdn_heap_free = { { "?heap" }, NOTHING },
  gdn_heap_reserve = { { "heap", 9 }, EINVAL }, gdn_heap_set = { { "heap", 1, 1, 1 }, EINVAL },
  gdn_heap_remove = { { "heap", 1 }, gives(0) }, gdn_heap_first = { { "heap" }, gives(-1) },
  gdn_heap_size = { { "heap" }, gives(0) }, gdn_heap_key = { { "heap", 1 }, gives(math.huge) },
  gdn_heap_clear = { { "heap" }, NOTHING },
  gdn_hash_bytes = { { "?ids", 8, 0 }, NOTHING },
  gdn_hash_blocks = { { "ints", 16, 4, 0, -1, "ids" }, EINVAL },
  gdn_hash_chain = { { "ids", 16, 0, -1, "ids" }, EINVAL },
  gdn_index_new = { { "index_config", "index_out", "?why", 200 }, EINVAL },
  gdn_index_free = { { "?index" }, NOTHING },
  gdn_index_error = { { "index" }, function(got) return #ffi.string(got) > 0 end },
  gdn_index_advance = { { "index", 2 }, EINVAL },
  gdn_index_match = { { "index", "ids", 2, 100, "hit" }, EINVAL },
  gdn_index_watch_hit = { { "index", "ids", 2, 100, "hit", "watch" }, EINVAL },
  gdn_index_has_changed = { { "index", "watch" }, EINVAL },
  gdn_index_list_changed = { { "index", "?watch", "ints", "ints", "ints", -1, 8, "ints" }, EINVAL },
  gdn_index_lock = { { "index", "hit" }, EINVAL },
  gdn_index_unlock = { { "index", 1 }, EINVAL }, gdn_index_unlock_state = { { "index", 1 }, EINVAL },
  gdn_index_publish = { { "index", "ids", 3, "?ints", "?slots_of", 0, 0, -1, "published" }, EINVAL },
  gdn_index_join = { { "index", "ids", 3, "?kv", 0, "slots", "slots_of", 0, "published" }, EINVAL },
  gdn_index_leave = { { "index", 1, 1, "?kv", "?ints", "slots" }, EINVAL },
  gdn_index_free_up = { { "index", 1, 0, 1, "?kv", "?ints", "slots" }, EINVAL },
  gdn_index_keep = { { "index", "ids", 3, "?kv", 0, "slots", "cells", 0, -1, -1, 0, 0, "?ints", "published" },
                     EINVAL },
  gdn_index_pin = { { "index", 1, -1, -1 }, EINVAL }, gdn_index_unpin = { { "index", 1 }, EINVAL },
  gdn_index_candidates = { { "index", 0, 4, "ints", "doubles" }, EINVAL },
  gdn_index_rate = { { "index", 0, "ints", "doubles", 1 }, EINVAL },
  gdn_index_first = { { "index", 0 }, gives(0) },
  gdn_index_drop_state = { { "index", 1, "ints" }, EINVAL },
  gdn_index_move_state = { { "index", 1, 1, "slots_of", "ints" }, EINVAL },
  gdn_index_evict = { { "index", 1, 1, "?ints", "slots_of" }, EINVAL },
  gdn_index_read = { { "index", 1, 0, 1, "?ids", "?ints" }, EINVAL },
  gdn_index_slots = { { "index", 1, "ints" }, EINVAL },
  gdn_index_describe = { { "index", 1, ffi.new "gdn_index_node" }, EINVAL },
  gdn_index_describe_all = { { "index", ffi.new "gdn_index_stats" }, EINVAL },
  gdn_index_verify = { { "index" }, EINVAL },
  gdn_sort_by_key = { { 2, "doubles", "ints", "ints" }, NOTHING },
  gdn_worker_version = { {}, NOTHING },
  gdn_hello_init = { { "builder", "hello" }, EINVAL },
  gdn_hello_pack = { { "hello", "memory", 4096, "?why", 200 }, EINVAL },
  gdn_hello_unpack = { { "hello_record", function() return HELLO_BYTES end, "hello_out", "?why", 200 },
                       EINVAL },
  gdn_step_bytes = { { "hello" }, EINVAL }, gdn_result_bytes = { { "hello" }, EINVAL },
  gdn_step_pack = { { "step", "?hello", "memory", 4096, "?why", 200 }, EINVAL },
  gdn_step_pack_batch = { { "builder", "batch", "step", "?hello", "memory", 4096, "?why", 200 }, EINVAL },
  gdn_step_unpack = { { "step_record", function() return STEP_BYTES end, "?hello", "step_out", "?why", 200 },
                      EINVAL },
  gdn_step_batch = { { "step", "builder", "batch", "?why", 200 }, EINVAL },
  gdn_kv_changes = { { 1, "ints", "ids", "ints", "ints", 9, 9, "sent", "ints", 9 }, EINVAL },
  gdn_result_copy = { { "result", "ints", "ints", "ints", "ints" }, NOTHING },
  gdn_result_pack = { { "result", "memory", 4096, "?why", 200 }, EINVAL },
  gdn_result_unpack = { { "result_record", function() return RESULT_BYTES end, "result_out", "?why", 200 },
                        EINVAL },
  gdn_channel_new = { { 64, 64, "channel_out", "?why", 200 }, EINVAL },
  gdn_channel_open = { { function(t) return lib.gdn_channel_descriptor(t.channel) end, "channel_out", "?why",
                         200 }, EINVAL },
  gdn_channel_free = { { "?channel" }, NOTHING }, gdn_channel_close = { { "channel" }, NOTHING },
  gdn_channel_descriptor = { { "channel" }, gives(-1) },
  gdn_channel_largest = { { "channel", 0 }, gives(0) },
  gdn_channel_send = { { "channel", "memory", 8 }, EINVAL },
  gdn_channel_receive = { { "channel", "memory", 64, 0 }, EINVAL },
  gdn_channel_peer_version = { { "channel" }, gives(0) },
  gdn_channel_beat = { { "channel" }, NOTHING }, gdn_channel_beats = { { "channel" }, gives(0) },
  gdn_process_new = { { "arguments", "?environment", 0, "process_out", "?why", 200 }, EINVAL },
  gdn_process_free = { { "?process" }, NOTHING }, gdn_process_id = { { "process" }, gives(0) },
  gdn_process_ended = { { "process", "?why", 200 }, gives(0) },
}

-- The builder is const, so that nothing is noted in it.
local CONST = { gdn_batch_new = true, gdn_metadata_group = true, gdn_hello_init = true,
                gdn_step_pack_batch = true }

-- Functions of the header.
local function declared()
  local names, may_be_null = {}, {}
  for _, part in ipairs { "", "_scheduler", "_prefix_index", "_worker" } do
    local text = blocks.read(("src/gdnmeta%s.h"):format(part))
    for name, parameters in text:gmatch "GDN_API [%w_ ]-[ %*]([%w_]+)(%b())" do
      names[#names + 1], may_be_null[name] = name, {}
      for parameter in (parameters:sub(2, -2) .. ","):gmatch "(.-)," do
        table.insert(may_be_null[name], parameter:find "GDN_NULL_OK" ~= nil)
      end
    end
  end
  return names, may_be_null
end

describe("NULL", function()
  local names, may_be_null = declared()
  it("is tried on every function", function()
    assert.is_true(#names > 40)
    for _, name in ipairs(names) do assert.is_not_nil(CALLS[name], name) end
  end)

  it("is allowed where the headers have GDN_NULL_OK, and nowhere else", function()
    for _, name in ipairs(names) do
      for place, argument in ipairs(CALLS[name][1]) do
        local tried = type(argument) == "string" and argument:find "^?" ~= nil
        assert.are.equal(tried, may_be_null[name][place], ("%s, place %d"):format(name, place))
      end
    end
  end)

  local texts = {}
  for _, name in ipairs(names) do
    local arguments, expect = (CALLS[name] or {})[1] or {}, (CALLS[name] or {})[2]
    for place, argument in ipairs(arguments) do
      if type(argument) ~= "number" and type(argument) ~= "function" then
        it(("in place %d of %s"):format(place, name), function()
          local t, given = things(), {}
          t.null, t.data, t.violation = NULL, t.tensor.data, ffi.new "gdn_violation"
          if name:find "^gdn_process_" and name ~= "gdn_process_new" then start_process(t) end
          for n, thing in ipairs(arguments) do
            given[n] = type(thing) == "string" and t[thing:gsub("^%?", "")]
              or type(thing) == "function" and thing(t) or thing
          end
          given[place] = NULL
          local got = lib[name](unpack(given, 1, #arguments))
          local allowed = type(argument) == "string" and argument:find "^%?"
          if not allowed then assert.is_true(expect(got), tostring(got)) end
          local noted = arguments[1] == "builder" and place > 1 and not CONST[name]
          if expect == EINVAL and not allowed and noted then
            local said = ffi.string(lib.gdn_last_error(t.builder))
            assert.matches("%a", said)
            texts[#texts + 1] = ("%s %d: %s"):format(name, place, said)
          end
          if arguments[1] == "index" and place > 1 and not allowed and name ~= "gdn_index_describe_all" then
            local stats = ffi.new "gdn_index_stats"
            assert(lib.gdn_index_describe_all(t.index, stats) == 0)
            assert.are.same({ 2, 1, 0 }, { stats.blocks, stats.states, tonumber(stats.locks) })
            texts[#texts + 1] = ("%s %d: %s"):format(name, place, ffi.string(lib.gdn_index_error(t.index)))
          end
          if t.out[0] ~= t.builder then lib.gdn_builder_free(t.out[0]) end -- made without `why`
          if t.index_out[0] ~= t.index then lib.gdn_index_free(t.index_out[0]) end
          if t.channel_out[0] ~= t.channel then lib.gdn_channel_free(t.channel_out[0]) end
          if t.process_out[0] ~= t.process then lib.gdn_process_free(t.process_out[0]) end
          lib.gdn_channel_free(t.channel)
          lib.gdn_process_free(t.process)
          lib.gdn_kv_free(t.kv)
          lib.gdn_batch_free(t.batch)
          lib.gdn_builder_free(t.builder)
          lib.gdn_slots_free(t.slots)
          lib.gdn_heap_free(t.heap)
          lib.gdn_index_free(t.index)
        end)
      end
    end
  end

  it("is refused with these words", function() golden("c-null", table.concat(texts, "\n") .. "\n") end)
end)
