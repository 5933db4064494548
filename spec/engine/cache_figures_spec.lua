-- What engines with a state cache do with requests that share beginnings, have sessions, fork and are
-- cancelled: a checksum of all steps of each play with its figures, against spec/goldens/texts.
local drawer = require "spec.support.drawer"
local golden = require "spec.support.golden"
local serve = require "spec.support.run_engine"
local texts = require "spec.support.step_texts"

local CACHES = { "gdsf", "turns_by_tokens", "fork_and_last", "every_block", "last_block", "superseded_first" }
local PLAYS, STEPS = 24, 50

local function sorted(list)
  local names, words = {}, {}
  for name, value in pairs(list) do
    if type(value) == "number" then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do words[i] = ("%s %.9g"):format(name, list[name]) end
  return table.concat(words, ", ")
end

local function engine_of(draw, case)
  local align = case % 3 == 0
  local builder = { num_slots = 6 + draw(20), max_num_seqs = 3, max_num_batched_tokens = 48, max_requests = 8,
                    num_speculative_tokens = case % 4 == 1 and 2 or 0, num_groups = draw(2) }
  builder.num_slots = builder.num_slots + (align and 8 or 0)
  if align then
    builder.mamba_cache_mode, builder.mamba_block_size, builder.max_blocks_per_row = "align", 8, 40
  else
    builder.max_blocks_per_row = 2 + builder.num_speculative_tokens
  end
  local options = { cache = CACHES[case % #CACHES + 1], hash_block_size = align and 8 or 4,
                    max_model_len = 96, host_slots = case % 2 == 0 and draw(6) or nil }
  if draw(3) > 1 then options.kv_blocks, options.kv_block_size = 12 + draw(24), options.hash_block_size end
  return serve.engine(draw(2) == 1 and "fcfs" or "fair", options, builder), options.hash_block_size
end

-- Prompts of a family begin alike, for as long as they please.
local function request(draw, id, size, now)
  local prompt = size * draw(8) + draw(size)
  local blocks, family, same = {}, draw(3), draw(8)
  for k = 1, math.floor(prompt / size) do blocks[k] = 1000 * family + (k <= same and k or 100 * id + k) end
  return { id = id, prompt_tokens = prompt, max_tokens = draw(6), arrival = now, blocks = blocks,
           user = "u" .. draw(3), session = draw(3) == 1 and "s" .. draw(4) or nil, priority = draw(5) }
end

local function play(case)
  local draw = drawer(7919 * case + 1)
  local engine, size = engine_of(draw, case)
  local sum, known, refused = 7, {}, 0
  local function note(ok, why)
    if not ok then refused = refused + 1 end
    sum = texts.sum(sum, ok and "yes" or why or "no")
  end
  local now = 0
  while now < STEPS or not engine:idle() do
    now = now + 1
    for _ = 1, now < STEPS and draw(3) - 1 or 0 do
      local id = 100 * now + #known
      note(engine:submit(request(draw, id, size, now)))
      known[#known + 1] = id
    end
    local what, id = draw(8), known[draw(math.max(#known, 1))]
    if id and what == 1 then note(engine:fork(id, { id = 1e6 + now, max_tokens = draw(9) })) end
    if id and what == 2 then note(engine:cancel(id)) end
    local step = assert(engine:step(now))
    sum = texts.sum(sum, texts.step(step, engine))
    for row = 0, step.num_rows - 1 do
      if step.samples[row] == 1 and step.drafts[row] > 0 then
        step.accepted_drafts[row] = draw(step.drafts[row] + 1) - 1
      end
    end
    assert(engine:complete(step, now + 0.5))
    assert(engine:verify())
  end
  assert.are.same({}, (engine:failures()))
  local figures = ("%d: %.0f, refused %d\n  %s\n  %s"):format(case, sum, refused, sorted(engine.stats),
    sorted(engine.cache:stats()))
  engine:close()
  return figures
end

describe("Engines with a state cache", function()
  it("come to these figures", function()
    local lines = {}
    for case = 1, PLAYS do lines[case] = play(case) end
    golden("cache-figures", table.concat(lines, "\n") .. "\n")
  end)
end)
