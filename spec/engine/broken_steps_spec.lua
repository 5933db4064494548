-- The books of spec/support, invariant by invariant: an engine that is broken on purpose, or whose steps are,
-- must be caught by the number of what it broke. Random traffic means something only while these fail.
local play = require "spec.support.random_traffic"

-- A small engine with everything in it: speculation, groups, captured sizes, too little attention cache.
local function configuration(changes, further)
  local c = {
    align = false, num_spec = 2, num_groups = 2, seqs = 4, block = 16, max_model_len = 64, budget = 24,
    threshold = 0, kv_block = 4, kv_tokens = 96, num_slots = 40, full_cuda_graph = true, kv_watermark = 0,
    kv_headroom = 0,
    check = false,
  }
  for name, value in pairs(changes or {}) do c[name] = value end
  for name, value in pairs(further or {}) do c[name] = value end
  return c
end

local ROOMY = { kv_tokens = 4000, budget = 60, seqs = 6, num_slots = 60 } -- uniform steps, padded

-- Play traffic through an engine of the configuration, of which the books are told `told` besides.
-- `spoil(step, engine)` is tried after each call of the method until it says true. What the books say, and
-- whether anything was spoilt.
local function verdict(changes, told, method, spoil)
  math.randomseed(7)
  local requests = play.requests(configuration { max_model_len = 48 }, 14)
  local engine = play.engine(configuration(changes), "decode_first")
  local original, is_spoilt = engine[method], false
  engine[method] = function(self, first, ...)
    local result, message, code = original(self, first, ...)
    local step = method == "step" and result or first
    if result and not is_spoilt then is_spoilt = spoil(step, self) or false end
    return result, message, code
  end
  local ok, message = pcall(play.run, configuration(changes, told), {
    engine = engine, where = "played", requests = requests, kernel = { run = function() end } })
  engine:close()
  return ok, message, is_spoilt
end

-- What engine:verify() says of what has a number in the books; it may be asked first.
local VERIFIED = { I26 = "%d tokens were scheduled, want %d" }

local function expect(number, changes, told, method, spoil)
  local ok, message, is_spoilt = verdict(changes, told, method, spoil)
  assert.is_true(is_spoilt, "nothing was spoilt")
  assert.is_false(ok, "the books saw nothing")
  if VERIFIED[number] and message:find(VERIFIED[number]) then return end
  local numbers = message:match "^.-: (I[I%d, ]+)" or message
  assert.is_truthy((numbers .. " "):find(number .. "%D"), message)
end

-- The first row that fits the description.
local function row_where(step, fits)
  for row = 0, step.num_rows - 1 do
    if fits(row) then return row end
  end
end

local function is_draft(step) return function(row) return step.drafts[row] > 0 end end
local function is_chunk(step) return function(row) return step.query_len[row] > 3 end end

-- Add to an element of the step's array in the first row that fits.
local function add(array, amount, fits)
  return function(step)
    local row = row_where(step, fits and fits(step) or function() return true end)
    if not row then return false end
    step[array][row] = step[array][row] + amount
    return true
  end
end

local COLUMNS = { "query_len", "seq_len", "drafts", "last_accepted", "samples", "table_row", "request" }

-- The first and the last row change places, a decode and a first chunk.
local function swap(step)
  local last = step.num_rows - 1
  if last < 1 or step.query_len[last] < 4 or step.seq_len[last] ~= step.query_len[last] then return false end
  if step.drafts[0] < 0 then return false end
  for _, name in ipairs(COLUMNS) do step[name][0], step[name][last] = step[name][last], step[name][0] end
  step.ids[1], step.ids[last + 1] = step.ids[last + 1], step.ids[1]
  return true
end

-- Change an element of a tensor of the step, where it has such an element.
local function poke(name, index, value)
  return function(step)
    local tensor = step.metadata and step.metadata[name]
    local at = tensor and index(step, tensor)
    if not at or at >= #tensor then return false end
    tensor.data[at] = value
    return true
  end
end

-- After the rows of a padded step that is speculative, or of one that is not.
local function after(speculative, width)
  return function(step)
    local is_speculative = step.metadata.num_spec_decodes > 0
    return is_speculative == speculative and step.padded_rows > step.num_rows and step.num_rows * width
  end
end

-- In a step with speculative rows: the first element, or the last where the last row is a first chunk.
local function first_of_speculative(step) return step.metadata.num_spec_decodes > 0 and 0 end
local function fresh_of_speculative(step, tensor)
  local last = step.num_rows - 1
  return step.metadata.num_spec_decodes > 0 and step.seq_len[last] == step.query_len[last] and #tensor - 1
end

-- What is broken, and how the step is spoilt.
local STEPS = {
  I1 = { "a request in two rows", function(step)
    if step.num_rows < 2 then return false end
    step.ids[2] = step.ids[1]
    return true
  end },
  I2 = { "a row without tokens", function(step)
    step.query_len[0] = 0
    return true
  end },
  I5 = { "more tokens than are known", add("query_len", 60, is_chunk) },
  I7 = { "fewer drafts than it has", add("drafts", -1, is_draft) },
  I8 = { "a speculative row that says it is none", add("drafts", -3, is_draft) },
  I12 = { "a first chunk in front of the decodes", swap },
  I14 = { "padding that writes a slot", poke("non_spec_state_indices_tensor", after(false, 1), 1),
          { num_spec = 0 } },
  I15 = { "an accepted count of its own", add("last_accepted", 1) },
  I16 = { "a fresh row that has a state", poke("has_initial_state", function(step)
    return row_where(step, function(row) return step.drafts[row] < 0 end) == 0 and step.num_rows - 1
  end, true) },
  I17 = { "a row that begins elsewhere", poke("non_spec_query_start_loc", function() return 1 end, 63) },
  I18 = { "a sequence of another length", add("seq_len", 1) },
  I19 = { "padding to another size", function(step)
    step.padded_tokens = step.padded_tokens + 1
    return true
  end },
  I20 = { "a full graph for text", function(step)
    if not row_where(step, is_chunk(step)) then return false end
    step.graph = "full"
    return true
  end },
  I23 = { "a slot that is held once too often", function(_, engine)
    local lib = require "gdnmeta.native"
    return lib.gdn_slots_share(engine.private.states.pools, 1, 1) == 0
  end },
  I28 = { "a token that lies in another block", function(step)
    local mapping = require("ffi").cast("int64_t *", step.kv_slot_mapping)
    mapping[step.num_tokens - 1] = mapping[step.num_tokens - 1] + 4
    return step.num_tokens > 1
  end, { owns_blocks = true } },
  I24 = { "nothing, while a request waits", function(step)
    step.num_rows, step.num_tokens = 0, 0
    return true
  end },
}

describe("The books catch a step with", function()
  for number, case in pairs(STEPS) do
    it(("%s: %s"):format(case[1], number), function()
      expect(number, case[3], nil, "step", case[2])
    end)
  end

  it("speculative padding that writes or reads a slot: I14", function()
    for name, width in pairs { spec_state_indices_tensor = 3, spec_read_state_indices = 1 } do
      expect("I14", ROOMY, nil, "step", poke(name, after(true, width), 1))
    end
  end)

  it("accepted counts on padding: I15", function()
    expect("I15", ROOMY, nil, "step", poke("num_accepted_tokens", after(true, 1), 2))
  end)

  it("wrong boundaries or initial states beside speculative rows: I16, I17", function()
    expect("I17", nil, nil, "step", poke("spec_query_start_loc", first_of_speculative, 1))
    expect("I17", nil, nil, "step", poke("non_spec_query_start_loc", first_of_speculative, 1))
    expect("I16", nil, nil, "step", poke("has_initial_state", fresh_of_speculative, true))
    expect("I16", nil, nil, "step", poke("prefill_has_initial_state", fresh_of_speculative, true))
  end)

  it("another bucket, or no graph where a bucket holds it: I27", function()
    local buckets = { full_cuda_graph = "mixed" }
    for _, spoil in ipairs {
      function(step) step.padded_rows = step.padded_rows - 1 end,
      function(step) step.padded_tokens = step.padded_tokens * 2 end,
      function(step) step.graph = "piecewise" end,
      function(step) step.branches = "none" end,
    } do
      expect("I27", buckets, nil, "step", function(step)
        if step.num_rows == 0 then return false end
        spoil(step)
        return true
      end)
    end
  end)

  it("a place in the attention cache for padding, and a block that is held once too often: I28", function()
    expect("I28", { owns_blocks = true }, nil, "step", function(step)
      if step.padded_tokens == step.num_tokens then return false end
      require("ffi").cast("int64_t *", step.kv_slot_mapping)[step.num_tokens] = 0
      return true
    end)
    expect("I28", { owns_blocks = true }, nil, "step", function(_, engine)
      local block_0 = require("ffi").new "int32_t[1]"
      return require("gdnmeta.native").gdn_kv_hold(engine.private.kv_blocks.kv, block_0, 1) == 0
    end)
  end)

  it("a request that begins where nobody computed, and a slot that the cache holds once too often: I29, I23",
     function()
    local cached = { hash_block = 4, kv_tokens = 4000 }
    expect("I29", cached, nil, "step", function(_, engine)
      local enter = engine.private.states.enter
      function engine.private.states.enter(states, i, copies)
        enter(states, i, copies)
        engine.private.requests.cached[i] = 4
      end
      return true
    end)
    expect("I23", cached, nil, "complete", function(_, engine)
      local first = require("spec.support.cache_checks").nodes(engine.private.prefix)[2]
      if not first or not first.slots[1] then return false end
      return require("gdnmeta.native").gdn_slots_share(engine.private.states.pools, 0, first.slots[1]) == 0
    end)
  end)

  it("a length on padding: I18", function()
    expect("I18", nil, nil, "step", function(step)
      if step.padded_rows == step.num_rows then return false end
      step.seq_len[step.num_rows] = 1
      return true
    end)
  end)
end)

-- An engine that was told something else: what is broken, the engine's configuration, that of the books.
local LIMITS = {
  I3 = { "tokens", {}, { budget = 16 } },
  I4 = { "requests", {}, { seqs = 2 } },
  I9 = { "tokens of a chunk", {}, { threshold = 8 } },
  I10 = { "whole prompts", {}, { chunked = false } },
  I11 = { "whole blocks", {}, { align = true, block = 8 } },
  I13 = { "slots a request", {}, { num_spec = 3 } },
  I21 = { "admissions", { admit_after_preemption = true, kv_tokens = 72 },
          { admit_after_preemption = false } },
}

describe("The books catch an engine that does not keep to its", function()
  for number, case in pairs(LIMITS) do
    it(("%s: %s"):format(case[1], number), function()
      expect(number, case[2], case[3], "step", function() return true end)
    end)
  end
end)

describe("The books catch an engine that", function()
  it("drafts beyond the longest sequence: I6", function()
    expect("I6", { max_model_len = 48 }, nil, "step", function(_, engine)
      engine.private.token_limits.max_model_len = 60
      return true
    end)
  end)

  it("keeps what a victim held: I22", function()
    expect("I22", { kv_tokens = 72 }, nil, "step", function(_, engine)
      function engine.private.states.leave() end
      return true
    end)
  end)

  it("gives back the slots of a victim, and not its attention cache: I23", function()
    expect("I23", { kv_tokens = 72 }, nil, "step", function(_, engine)
      local leave = engine.private.states.leave
      function engine.private.states.leave(states, i)
        states.free_kv = states.free_kv - 1
        return leave(states, i)
      end
      return true
    end)
  end)

  it("miscounts who waits: I23", function()
    expect("I23", nil, nil, "step", function(_, engine)
      engine.stats.waiting = engine.stats.waiting + 1
      return true
    end)
  end)

  it("emits a token too many: I25", function()
    expect("I25", nil, nil, "complete", add("emitted", 1))
  end)

  it("loses count of what it scheduled: I26", function()
    expect("I26", nil, nil, "complete", function(_, engine)
      engine.stats.scheduled = engine.stats.scheduled + 1
      return true
    end)
  end)
end)
