-- What gdnmeta.h calls a legal batch, one entry a clause, under the words that stand there. Each case is
-- the last legal step, the first illegal one, and the whole reason why it is refused. Builders are those
-- of strict_rows: S = 2, up to 3 tokens beside the decodes, 5 columns, 16 table rows, slots 1 .. 99.
local strict = require "spec.support.strict_rows"

local decode, spec, fresh, empty = strict.decode, strict.spec, strict.fresh, strict.empty
local MIN, MAX = -2147483648, 2147483647
local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 16, num_speculative_blocks = 2 }
local ALIGN_PLAIN = { mamba_cache_mode = "align", mamba_block_size = 16, num_speculative_tokens = 0,
  num_speculative_blocks = 2 }
local TWO_GROUPS = { num_groups = 2, num_slots = { 100, 50 } }
local UNCHECKED = { check_unique = false }

local clauses = {}

local function clause(words)
  clauses[#clauses + 1] = { words = words, cases = {} }
end

local function case(legal, illegal, reason, options)
  local cases = clauses[#clauses].cases
  cases[#cases + 1] = { legal = legal, illegal = illegal, reason = reason, options = options }
end

clause "a real row has query_len >= 1"
local hollow = "query_len = 0, want >= 1 (only padding at the back is empty)"
case({ decode(10), decode(20), decode(30) }, { decode(10), decode(20, { query_len = 0 }), decode(30) },
     "rows[1]." .. hollow)
case({ decode(30), empty() }, { empty(), decode(30) }, "rows[0]." .. hollow)
case({ decode(10) }, { decode(10, { poke = { query_len = -1 } }) }, "rows[0].query_len = -1, want >= 0")
case({ decode(10) }, { decode(10, { query_len = 0 }), decode(20, { poke = { query_len = -1 } }) },
     "rows[1].query_len = -1, want >= 0")

clause "seq_len >= query_len"
case({ fresh(10, { seq_len = 7 }) }, { fresh(10, { seq_len = 6 }) },
     "rows[0].seq_len = 6, want >= query_len = 7")
case({ decode(10), decode(20, { seq_len = 2 }) }, { decode(10), decode(20, { seq_len = 0 }) },
     "rows[1].seq_len = 0, want >= query_len = 1")
case({ decode(20, { seq_len = MAX }) }, { decode(20, { seq_len = MIN }) },
     "rows[0].seq_len = -2147483648, want >= query_len = 1")

clause "num_draft_tokens is -1, or in 0 .. S"
local refused = "num_draft_tokens = %d, want -1 .. 2"
case({ spec(10), spec(20) }, { spec(10), spec(20, { query_len = 4, drafts = 3 }) },
     "rows[1]." .. refused:format(3))
case({ decode(10, { drafts = -1 }) }, { decode(10, { poke = { num_draft_tokens = -2 } }) },
     "rows[0]." .. refused:format(-2))
case({ decode(10, { drafts = 0 }) }, { spec(10, { query_len = 2, drafts = 1 }) },
     "rows[0].num_draft_tokens = 1, want -1 .. 0", { num_speculative_tokens = 0 })

clause "a speculative row has query_len = num_draft_tokens + 1, prompt_done = 1 and seq_len > query_len"
case({ spec(10, { query_len = 2, drafts = 1 }) }, { spec(10, { query_len = 3, drafts = 1 }) },
     "rows[0].query_len = 3, want num_draft_tokens + 1 = 2")
case({ spec(10), spec(20, { query_len = 2, drafts = 1 }) },
     { spec(10), spec(20, { query_len = 1, drafts = 1 }) },
     "rows[1].query_len = 1, want num_draft_tokens + 1 = 2")
case({ spec(10, { prompt_done = true }) }, { spec(10, { prompt_done = false }) },
     "rows[0].prompt_done = 0, want 1 (num_draft_tokens = 2)")
case({ decode(10, { prompt_done = false }) }, { decode(10, { prompt_done = false, drafts = 0 }) },
     "rows[0].prompt_done = 0, want 1 (num_draft_tokens = 0)")
case({ spec(10, { seq_len = 4 }) }, { spec(10, { seq_len = 3 }) },
     "rows[0].seq_len = 3, want > query_len = 3 in a speculative row")

clause "num_accepted_tokens is in 1 .. S + 1"
refused = "num_accepted_tokens = %d, want 1 .. 3"
case({ decode(10), decode(20, { accepted = 3 }) }, { decode(10), decode(20, { accepted = 4 }) },
     "rows[1]." .. refused:format(4))
case({ decode(10, { accepted = 1 }) }, { decode(10, { accepted = 0 }) }, "rows[0]." .. refused:format(0))
case({ fresh(10, { accepted = 3 }) }, { fresh(10, { accepted = 4 }) }, "rows[0]." .. refused:format(4))
case({ spec(10, { accepted = 3 }) }, { spec(10, { accepted = MIN }) }, "rows[0]." .. refused:format(MIN))

clause "prompt_done is 0 or 1"
case({ decode(10, { poke = { prompt_done = 1 } }) }, { decode(10, { poke = { prompt_done = 2 } }) },
     "rows[0].prompt_done = 2, want 0 or 1")
case({ fresh(10, { poke = { prompt_done = 0 } }) }, { fresh(10, { poke = { prompt_done = -1 } }) },
     "rows[0].prompt_done = -1, want 0 or 1")

clause("rows are ordered: decodes (prompt done), short extends (query_len up to reorder_batch_threshold), " ..
       "long extends, first chunks (nothing computed: seq_len = query_len)")
local short, long = decode(20, { query_len = 3, prompt_done = false }), decode(30, { query_len = 4 })
local order = ", want decodes, short extends, long extends, first chunks"
case({ decode(10), short, long, fresh(40) }, { short, decode(10), long, fresh(40) },
     "rows[1] is a decode (query_len = 1, seq_len = 51) after a short extend" .. order)
case({ spec(10), short }, { short, spec(10) },
     "rows[1] is a decode (query_len = 3, seq_len = 53) after a short extend" .. order)
case({ short, long }, { decode(10), long, short },
     "rows[2] is a short extend (query_len = 3, seq_len = 51) after a long extend" .. order)
case({ long, fresh(40) }, { fresh(40), long },
     "rows[1] is a long extend (query_len = 4, seq_len = 51) after a first chunk" .. order)
local one = fresh(20, { query_len = 1, seq_len = 1 })
case({ decode(10), one }, { one, decode(10) },
     "rows[1] is a decode (query_len = 1, seq_len = 51) after a first chunk" .. order)

clause "table_row is a row of every group's table, or ~k for row k of the batch's own blocks"
refused = "rows[0].table_row = %d, want -16 .. 15"
local function at(row) return decode(10, { poke = { table_row = row } }) end
local function pad_at(row) return empty { poke = { table_row = row } } end
case({ at(-1) }, { at(16) }, refused:format(16))
case({ decode(10) }, { at(-17) }, refused:format(-17))
case({ decode(10), pad_at(15) }, { decode(10), pad_at(16) },
     "rows[1].table_row = 16, want -16 .. 15")
case({ decode(10), pad_at(-16) }, { decode(10), pad_at(MIN) },
     "rows[1].table_row = -2147483648, want -16 .. 15")

clause "the window, S + 1 columns (`align`: 1 + num_speculative_blocks), ends within the table row"
local function far(seq_len)
  return decode(1, { blocks = { 1, 2, 3, 4, 5 }, read_column = 0, seq_len = seq_len })
end
case({ far(48) }, { decode(20, { seq_len = 9, read_column = 0 }), far(49) },
     "rows[1].seq_len = 49 reaches column 5 of the state table, want 0 .. 4", ALIGN)

clause "read_column is -1 in a first chunk, else a column of the table row"
local full = { 10, 11, 12, 13, 14 }
local function from(column) return { decode(10, { blocks = full, poke = { read_column = column } }) } end
case(from(4), from(5), "rows[0].read_column = 5, want 0 .. 4")
case(from(0), from(-1), "rows[0].read_column = -1, want 0 .. 4")
case(from(-2), from(-3), "rows[0].read_column = -3, want 0 .. 4")
case({ fresh(10, { read_column = -1 }) }, { decode(20), fresh(10, { read_column = 0 }) },
     "rows[1].read_column = 0, want -1 (nothing is computed yet)")
case({ decode(10, { seq_len = 9, read_column = 0 }) }, { decode(10, { seq_len = 9 }) },
     "rows[0].read_column = -2 (not given), want 0 .. 4 (align with speculation cannot imply it)", ALIGN)
case({ decode(10, { seq_len = 33 }) }, { decode(10, { seq_len = 82 }) },
     "rows[0].read_column = 5, want 0 .. 4", ALIGN_PLAIN)

clause "a written block is in 1 .. num_slots - 1"
local function on(...) return { fresh(10, { blocks = { ... } }) } end
refused = "rows[0] group 0 block 0 = %d, want 1 .. 99 (num_slots - 1)"
case(on(1), on(0), refused:format(0))
case(on(99), on(100), refused:format(100))
case(on(1, MIN, MAX), on(MIN), refused:format(MIN))
case({ spec(10), spec(20, { blocks = { 1, 98, 99 } }) },
     { spec(10), spec(20, { blocks = { 20, 21, 0 } }) },
     "rows[1] group 0 block 2 = 0, want 1 .. 99 (num_slots - 1)")
case({ spec(10) }, { spec(10), spec(20, { blocks = { 20, 21, 100 } }) },
     "rows[1] group 0 block 2 = 100, want 1 .. 99 (num_slots - 1)")
case(on({ 99 }, { 49 }), on({ 50 }, { 50 }),
     "rows[0] group 1 block 0 = 50, want 1 .. 49 (num_slots - 1)", TWO_GROUPS)

clause "a block of a speculative row after its drafts, which is not written, is in 0 .. num_slots - 1"
local function after(block)
  return { spec(10, { query_len = 2, drafts = 1, blocks = { 10, 11, block } }) }
end
refused = "rows[0] group 0 block 2 = %d, want 0 .. 99 (num_slots - 1)"
case(after(0), after(-1), refused:format(-1))
case(after(99), after(100), refused:format(100))

clause "the block at read_column is in 1 .. num_slots - 1"
refused = "rows[0] group 0 block at read_column %d = %d, want 1 .. 99 (num_slots - 1)"
local function reading(block, extra)
  return { decode(10, { blocks = { 10, block, 12, block }, accepted = 2, read_column = extra }) }
end
case(reading(1), reading(0), refused:format(1, 0))
case(reading(99, 3), reading(100, 3), refused:format(3, 100))
case({ spec(10, { accepted = 2 }) }, { spec(10, { blocks = { 10, 11, 12, 0 }, read_column = 3 }) },
     refused:format(3, 0))

clause("a written block is written once, and no other row of the group reads it; a block that no row " ..
       "writes may be read by several (check_unique = 0 skips this check, for hosts whose pool guarantees " ..
       "it)")
local foreign = { 20, 10, 31 }
refused = "rows[1] group 0 writes block %d, want one that rows[0] does not write"
case({ decode(10), decode(20, { blocks = { 20, 11, 12 } }) }, { decode(10), decode(10) }, refused:format(10))
case({ spec(10), spec(20) }, { spec(10), spec(20, { blocks = { 20, 12, 22 } }) }, refused:format(12))
case({ spec(10), decode(13) }, { spec(10), decode(11) }, refused:format(11))
case({ decode(11), spec(12) }, { decode(11), spec(10) }, refused:format(11))
case({ spec(10) }, { spec(10, { blocks = { 10, 10, 12 } }) },
     "rows[0] group 0 names block 10 twice, want a block a column")
case({ decode(10), decode(20, { blocks = { 20, 30, 31 }, accepted = 2 }),
       decode(40, { blocks = { 40, 30, 41 }, accepted = 2 }) },
     { decode(10), decode(20, { blocks = foreign, accepted = 2 }) },
     "rows[1] group 0 reads block 10, want one that rows[0] does not write")
case({ decode(10, { accepted = 1 }) }, { decode(10, { blocks = { 10, 20, 12 }, accepted = 2 }), decode(20) },
     "rows[0] group 0 reads block 20, want one that rows[1] does not write")

clause("checkpoint_len is 0, or in seq_len - query_len + 1 .. seq_len - 1 of a row that is not speculative, "
  .. "so that no decode has one, and without checkpoint_any a multiple of 64 tokens from the row's first "
  .. "one; seq_lens are on the host then")
local function keeping(len, slot, extra)
  local row = { query_len = 200, seq_len = 240, checkpoint_len = len, checkpoint_slot = slot or 90 }
  for name, value in pairs(extra or {}) do row[name] = value end
  return decode(10, row)
end
local within = "rows[0].checkpoint_len = %d, want 41 .. 239 (within the row's tokens), or 0"
local ANY = { checkpoint_any = true }
case({ keeping(104) }, { keeping(40) }, within:format(40))
case({ keeping(41) }, { keeping(240) }, within:format(240), ANY)
case({ keeping(239) }, { keeping(1) }, within:format(1), ANY)
case({ keeping(232) }, { keeping(105) }, "rows[0].checkpoint_len = 105, which is 65 tokens into the row, " ..
     "want a multiple of 64 (checkpoint_any = false)")
case({ decode(10, { checkpoint_len = 0, checkpoint_slot = 90 }) },
     { decode(10, { checkpoint_len = 51, checkpoint_slot = 90 }) },
     "rows[0].checkpoint_len = 51, want 0 in a row of one token")
case({ spec(10), keeping(104, 90, { blocks = { 20 } }) },
     { spec(10, { checkpoint_len = 51, checkpoint_slot = 90 }) },
     "rows[0].checkpoint_len = 51, want 0 in a speculative row")
case({ decode(10), empty { checkpoint_slot = 90 } }, { decode(10), empty { poke = { checkpoint_len = 1 } } },
     "rows[1].checkpoint_len = 1, want 0 in a padding row")

clause("its checkpoint_slot is in 1 .. num_slots - 1, and with check_unique neither written nor read by any "
  .. "row nor the slot of another checkpoint")
refused = "rows[0] group %d checkpoint_slot = %d, want 1 .. %d (num_slots - 1)"
case({ keeping(104, 1) }, { keeping(104, 0) }, refused:format(0, 0, 99))
case({ keeping(104, 99) }, { keeping(104, 100) }, refused:format(0, 100, 99))
case({ keeping(104, { 99, 49 }, { blocks = { { 1 }, { 2 } } }) },
     { keeping(104, { 99, 50 }, { blocks = { { 1 }, { 2 } } }) }, refused:format(1, 50, 49), TWO_GROUPS)
case({ decode(20), keeping(104, 21) }, { decode(20), keeping(104, 20) },
     "rows[1] group 0 checkpoint_slot = 20, want one that rows[0] does not write")
case({ keeping(104, 11) }, { keeping(104, 10) },
     "rows[0] group 0 checkpoint_slot = 10, want one that rows[0] does not write")
case({ decode(20, { accepted = 2 }), keeping(104, 22) }, { decode(20, { accepted = 2 }), keeping(104, 21) },
     "rows[1] group 0 checkpoint_slot = 21, want one that rows[0] does not read")
case({ keeping(104, 80), keeping(104, 81, { blocks = { 20 } }) },
     { keeping(104, 80), keeping(104, 80, { blocks = { 20 } }) },
     "rows[1] group 0 checkpoint_slot = 80, want another than rows[0] has")
local before = { decode(40, { checkpoint_slot = 81 }), keeping(104, 80),
                 keeping(104, 81, { blocks = { 20 } }) } -- a slot of a row that keeps nothing is any number
case({ before[1], before[2], before[3], keeping(104, 82, { blocks = { 30 } }) },
     { before[1], before[2], before[3], keeping(104, 81, { blocks = { 30 } }) },
     "rows[3] group 0 checkpoint_slot = 81, want another than rows[2] has")

clause "padding has seq_len 0, num_draft_tokens -1, and 0 in the first window of its table row"
case({ decode(10), empty(), empty() }, { decode(10), empty(), empty { seq_len = 1 } },
     "rows[2].seq_len = 1, want 0 in a padding row")
case({ empty() }, { empty { seq_len = -1 } }, "rows[0].seq_len = -1, want 0 in a padding row")
case({ decode(10), empty { drafts = -1 } }, { decode(10), empty { drafts = 0 } },
     "rows[1].num_draft_tokens = 0, want -1 in a padding row")
case({ decode(10), empty { blocks = { 0, 0, 0, 9 } } }, { decode(10), empty { blocks = { 0, 0, 7 } } },
     "rows[1] group 0 block 2 = 7, want 0 in a padding row")
case({ empty { blocks = { {}, {} } } }, { empty { blocks = { {}, { -1 } } } },
     "rows[0] group 1 block 0 = -1, want 0 in a padding row", TWO_GROUPS)

return { all = clauses, unchecked = UNCHECKED,
         shared = { { decode(10), decode(10) },
                    { decode(10), decode(20, { blocks = foreign, accepted = 2 }) },
                    { spec(10, { blocks = { 10, 10, 12 } }) } } }
