-- Builders whose arrays have just as many rows as their steps, each array at the end of a page, in front of
-- one that nobody may touch: no step reads or writes past an end, and a builder that has built other steps
-- says of each what a new one with larger arrays says. Sums of what is said and put out: spec/goldens/texts.
local ffi = require "ffi"

require("spec.support.counted_library").use() -- before gdnmeta is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local feed = require "spec.support.submit_paths"
local golden = require "spec.support.golden"
local see = require "spec.support.see_outputs"
local sum_of = require "spec.support.sum_of"
pcall(ffi.cdef, "void gdn_counted_page_ends(int wanted);")

local random = math.random
local SIZES = { 1, 3, 4, 7, 8, 16, 19, 20, 36, 64 } -- vectors, parts of them, and ends that alignment moves
local STEPS, STEPS_OF_FEW = 14, 60 -- of up to four rows
local WIDTH, GROUPS = 6, 2
local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 16 }
local WORLDS = {
  { "strict, no drafts", { S = 0, num_prefill_checkpoint_blocks = 0 } },
  { "strict, a draft", { S = 1, full_cuda_graph = true } },
  { "strict, three drafts", { S = 3 } },
  { "strict, align", { S = 1 }, ALIGN },
  { "strict, buckets", { S = 3, full_cuda_graph = "mixed" } },
  { "vllm-2026-04", { S = 2, rules = "vllm-2026-04", full_cuda_graph = true } },
  { "vllm-2026-08", { S = 0, rules = "vllm-2026-08", pad_slot_id = -1 } },
  { "vllm-2026-08, align", { S = 3, rules = "vllm-2026-08" }, ALIGN },
  { "vllm-2026-11", { S = 1, rules = "vllm-2026-11", num_prefill_checkpoint_blocks = 1, hash_block_size = 4,
    cache_hit_alignment_tokens = 4, prefill_checkpoint_alignment = 4 }, ALIGN },
}

local function builder_of(world, seqs, max_rows)
  local options = { device = "cpu", max_num_seqs = seqs, max_rows = max_rows, num_groups = GROUPS,
                    max_num_batched_tokens = 4000, max_requests = seqs, max_blocks_per_row = WIDTH,
                    num_slots = seqs * WIDTH + 1, decode_context_parallel_size = 1, poison = true }
  for k = 2, #world do
    for name, value in pairs(world[k]) do options[name] = value end
  end
  options.num_speculative_tokens, options.num_speculative_blocks, options.S = options.S, options.S, nil
  return assert(gdn.builder(options)), options
end

-- Tokens, tokens with those before, drafts; in the order that strict takes.
local KINDS = {
  function(S) local d = random(0, S) return d + 1, 20 + random(40), S > 0 and d or -1 end,
  function() return 1, 2 + random(60), -1 end,
  function(S) return S + 2 + random(5), 40 + random(20), -1 end,
  function(S) local q = S + 1 + random(30) return q, q, -1 end,
  function() return 1, 1, -1 end,
}

-- What a host may get wrong. Few of them are refused by vLLM's rules.
local FAULTS = {
  function(rows, i, g) rows[i].blocks[g][1] = rows[random(#rows)].blocks[g][random(2)] end,
  function(rows, i, g) rows[i].blocks[g][random(2)] = rows[#rows].blocks[g][1] end,
  function(rows, i, g) rows[i].blocks[g][random(2)] = ({ 0, -1, 2 ^ 31 - 1 })[random(3)] end,
  function(rows, i) rows[i].seq_len = random(0, 3) end,
  function(rows, i) rows[i].accepted = random(0, 5) end,
  function(rows, i) rows[i], rows[1] = rows[1], rows[i] end,
  function(rows, i) rows[i].read_column = random(-1, WIDTH) end,
}

-- Prefills ask for states to be kept, seldom in a slot that another row has; of strict's batches alone.
local function keep(rows)
  for i, row in ipairs(rows) do
    if row.q > 1 and row.drafts < 0 and random() < 0.5 then
      row.checkpoint_len, row.checkpoint_slots = row.seq_len - random(row.q - 1), {}
      for g = 1, GROUPS do
        local other = random() < 0.2 and random(#rows)
        row.checkpoint_slots[g] = rows[other or i].blocks[g][other and random(2) * 5 - 4 or WIDTH]
      end
    end
  end
end

local function draw(S, n, keeps)
  local counts, rows, slots = {}, {}, {}
  for i = 1, n do counts[i] = random() < 0.7 and random(2) or random(#KINDS) end
  if random() < 0.3 then
    local kind = random(2)
    for i = 1, n do counts[i] = kind end
  end
  table.sort(counts)
  for g = 1, GROUPS do
    slots[g] = {}
    for slot = 1, n * WIDTH do table.insert(slots[g], random(#slots[g] + 1), slot) end
  end
  local reads = random() < 0.3
  for i = 1, n do
    local q, seq_len, drafts = KINDS[counts[i]](S)
    local row = { q = q, seq_len = seq_len, drafts = drafts, accepted = random(S + 1), blocks = {},
                  prompt_done = counts[i] < 3, read_column = reads and seq_len > q and random(0, S) or nil }
    for g = 1, GROUPS do
      row.blocks[g] = {}
      for k = 1, WIDTH do row.blocks[g][k] = slots[g][(i - 1) * WIDTH + k] end
    end
    rows[i] = row
  end
  if keeps and random() < 0.4 then keep(rows) end
  if n > 0 and random() < 0.5 then FAULTS[random(#FAULTS)](rows, random(n), random(GROUPS)) end
  return rows
end

local EMPTY = { q = 0, seq_len = 0, drafts = -1, accepted = 1, prompt_done = false, blocks = {} }
for g = 1, GROUPS do EMPTY.blocks[g] = { 0, 0, 0, 0, 0, 0 } end

-- vLLM's arguments count what its rows say, too, and may say something else.
local function lie(inputs, padded, tokens)
  local out = {}
  for name, value in pairs(inputs) do out[name] = value end
  local name = ({ "max_query_len", "num_reqs", "num_actual_tokens" })[random(3)]
  out[name] = ({ out[name] + random(3), random(0, padded), random(0, 1) * random(0, tokens) })[random(3)]
  out.num_reqs = math.min(out.num_reqs, padded)
  return out
end

-- What is said of a step, or a sum of what it puts out.
local function outcome(path, builder, batch, inputs, rows)
  local meta, why = feed.paths[path](builder, batch, inputs, rows)
  if not meta then return why end
  local sum = sum_of.new()
  see(sum, builder, ffi.new "gdn_metadata", GROUPS)
  return sum.value
end

describe("Arrays at the ends of pages are enough for steps of all their rows:", function()
  for w, world in ipairs(WORLDS) do
    world[2].rules = world[2].rules or "strict"
    local is_strict = world[2].rules == "strict"
    world[2].checkpoint_any = is_strict
    it(world[1], function()
      math.randomseed(11)
      local built, refused, lines = 0, 0, {}
      for _, size in ipairs(SIZES) do
        local sum = sum_of.new()
        lib.gdn_counted_page_ends(1)
        local tight, config = builder_of(world, size, size)
        local batch = assert(tight:batch())
        lib.gdn_counted_page_ends(0)
        for step = 1, size > 4 and STEPS or STEPS_OF_FEW do
          local padded = random() < 0.6 and size or random(size)
          local rows = draw(world[2].S, random() < 0.8 and padded or random(0, padded), is_strict)
          local tokens = random() < 0.3 and random(5) or 0
          for _, row in ipairs(rows) do tokens = tokens + row.q end
          local inputs = feed.inputs(config, rows, EMPTY, padded, tokens)
          inputs.checkpoint_len, inputs.checkpoint_slot = nil, nil -- vLLM's arguments have none
          for _, path in ipairs { "raw", "write" } do
            local roomy = builder_of(world, size, size + 9)
            local roomy_batch = assert(roomy:batch())
            local given = path == "raw" and random() < 0.5 and lie(inputs, padded, tokens) or inputs
            local want = outcome(path, roomy, roomy_batch, given, rows)
            local got = outcome(path, tight, batch, given, rows)
            assert.are.same({ size, step, path, want }, { size, step, path, got })
            if type(got) == "number" then
              built = built + 1
              sum:number(got)
            else
              refused = refused + 1
              sum:text(got)
            end
            roomy_batch:close()
            roomy:close()
          end
        end
        batch:close()
        tight:close()
        lines[#lines + 1] = ("%d rows: %d built, %d refused until now, sum %d"):format(size, built, refused,
                                                                                     sum.value)
      end
      golden("page-ends-" .. w, table.concat(lines, "\n") .. "\n")
      assert.is_true(built > 60 and (refused > 10 or not is_strict), ("%d built"):format(built))
    end)
  end
end)
