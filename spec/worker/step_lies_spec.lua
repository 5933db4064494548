-- Step records whose checksum is right and whose heads are not, packs of what does not belong together, and
-- steps for a builder that is not theirs: what is said of each, against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local records = require "spec.support.step_records"
local sealed = require "spec.support.sealed"

local int32s = gdn.array_of "int32_t"
local notes = noted.new "records-"
local note, check = notes.note, notes.check
local why, said = records.why, records.said

-- Three rows: with drafts, a decode and a chunk.
local function batch_of(builder)
  local batch = assert(builder:batch())
  assert(batch:push(0, 3, 13, true, 2, 2))
  assert(batch:push(1, 1, 9, true))
  assert(batch:push(2, 20, 20, false))
  return batch
end

local function sample(options)
  local s = { builder = records.builder(options) }
  s.hello = records.full_hello(s.builder)
  s.batch = batch_of(s.builder)
  for group = 0, 1 do
    for row = 0, 2 do s.builder:set_blocks(group, row, { 3 * row + 1, 3 * row + 2, 3 * row + 3 }) end
  end
  local step = { num_rows = 3, num_tokens = 24, number = 77, graph = "full",
                 samples = int32s(3, { 1, 1, 0 }) }
  s.changes, s.copies = int32s(6, { 0, 2, 9, 1, 7, 31 }), int32s(2, { 4, 5 })
  s.rest, s.held = records.rest(step, { table_changes = s.changes, num_table_changes = 2, branches = 7,
                                        kv_copies = s.copies, num_kv_copies = 1 })
  s.step = step
  function s.pack(batch, size, out)
    size = size or 8192
    out = out or records.memory(size)
    return tonumber(lib.gdn_step_pack_batch(s.builder.handle, (batch or s.batch).rows, s.rest, s.hello, out,
                                            size, why, 512)), out
  end
  return s
end

local function note_status(name, value, status) note(name, value, records.verdict(status)) end

describe("Step records", function()
  before_each(notes.clear)

  it("are refused where the head lies under a right checksum", function()
    local s, out = sample(), ffi.new "gdn_step_record"
    local lies = { { "magic", 0 }, { "version", 0 }, { "abi", 0 }, { "number", 0 }, { "number", -1 },
                   { "number", 2 ^ 53 }, { "number", 2 ^ 53 + 2 }, { "kind", 0 }, { "kind", 2 },
                   { "kind", 3 }, { "kind", 4 }, { "bytes", 8 }, { 11, 1 }, { 21, -1 } }
    local bytes, memory = s.pack()
    assert.is_true(bytes > 0, said())
    local fields = ffi.cast("int32_t *", memory) + 8
    for field = 0, 10 do
      for _, value in ipairs { -1, fields[field] - 1, fields[field] + 1, 2 ^ 31 - 1 } do
        lies[#lies + 1] = { field, value }
      end
    end
    for _, limits in ipairs { s.hello, false } do
      for _, lie in ipairs(lies) do
        local _, lying = s.pack()
        sealed.lie(lying, lie[1], lie[2])
        local status = lib.gdn_step_unpack(lying, bytes, limits or nil, out, why, 512)
        note_status(("%s of %s"):format(lie[1], limits and "a hello" or "any"), lie[2], status)
      end
    end
    s.builder:close()
    check "step-lies"
  end)

  it("are packed where arrays, batch and memory are there and belong together", function()
    local s = sample()
    for _, name in ipairs { "request", "samples", "temperature", "top_p", "seed", "tokens", "table_changes",
                            "kv_copies" } do
      local was = s.rest[name]
      s.rest[name] = nil
      note_status(name, "NULL", (s.pack()))
      s.rest[name] = was
    end
    local bytes, memory = s.pack()
    local step = assert(records.unpack(memory, bytes, s.hello))
    for _, name in ipairs { "query_len", "seq_len", "drafts", "accepted_tokens", "prompt_done", "table_row",
                            "read_column", "checkpoint_len", "slots", "read_slots", "checkpoint_slot" } do
      local was = step[name]
      step[name] = nil
      note_status(name, "NULL", lib.gdn_step_pack(step, s.hello, records.memory(8192), 8192, why, 512))
      step[name] = was
    end
    note_status("size", -1, (s.pack(nil, bytes - 1)))
    note_status("size", 0, (s.pack(nil, bytes)))
    note_status("out", "NULL", lib.gdn_step_pack(step, s.hello, nil, 8192, why, 512))
    local off = ffi.cast("int64_t *", ffi.cast("char *", records.memory(8200)) + 4)
    note_status("out", "off by 4", lib.gdn_step_pack(step, s.hello, off, 8192, why, 512))
    local other = records.builder { num_groups = 1 }
    local more = records.builder { max_rows = 13 }
    note_status("groups", 1, (s.pack(batch_of(other))))
    note_status("rows", 13, (s.pack(batch_of(more))))
    s.batch.rows.table_row[2] = 12
    note_status("table_row", 12, (s.pack()))
    s.batch.rows.table_row[2] = 11
    note_status("table_row", 11, (s.pack()))
    s.batch.rows.read_column[1] = 3
    note_status("read_column", 3, (s.pack()))
    for _, b in ipairs { s.builder, other, more } do b:close() end
    check "step-packs"
  end)

  it("become batches of builders that have the same shapes", function()
    local s = sample()
    local bytes, memory = s.pack()
    local step = assert(records.unpack(memory, bytes, s.hello))
    for _, c in ipairs { { "num_groups", { num_groups = 1 } }, { "same", {} },
                         { "max_rows", { max_rows = 2, max_num_seqs = 1 } },
                         { "drafts", { num_speculative_tokens = 1 } } } do
      local builder = records.builder(c[2])
      local batch, strange = assert(builder:batch()), assert(s.builder:batch())
      note_status(c[1], "", lib.gdn_step_batch(step, builder.handle, batch.rows, why, 512))
      note_status(c[1] .. ", other batch", "",
        lib.gdn_step_batch(step, builder.handle, strange.rows, why, 512))
      builder:close()
    end
    for _, c in ipairs { { "num_rows", -1 }, { "padded_rows", 12 }, { "padded_rows", 13 },
                         { "padded_rows", 2 }, { "columns", 2 }, { "num_groups", 3 } } do
      local lying, batch = assert(records.unpack(memory, bytes, s.hello)), assert(s.builder:batch())
      lying[c[1]] = c[2]
      note_status(c[1], c[2], lib.gdn_step_batch(lying, s.builder.handle, batch.rows, why, 512))
      batch:close()
    end
    s.builder:close()
    check "step-batches"
  end)
end)
