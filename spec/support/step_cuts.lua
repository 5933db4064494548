-- luajit spec/support/step_cuts.lua: where the code of some steps is cut into pieces, in the order in which
-- the places come. For step_cuts_spec.lua, in a process of its own.
local cuts = require "gdnmeta.native.trace_cuts"

local seen
local function note(what)
  local at = debug.getinfo(3, "Sn")
  seen[#seen + 1] = ("%s %s%s"):format(at.source:match "([^/]+)%.lua$", at.name or "-", what)
end
function cuts.joint() return function() note "" end end
cuts.last_joint = cuts.joint
function cuts.piece(f)
  return function(...)
    note(": " .. tostring(debug.getinfo(1, "n").name))
    return f(...)
  end
end

local gdn = require "gdnmeta"

-- Lines of equal places that follow each other are one.
local function print_seen(title)
  print("== " .. title)
  local at = 1
  while at <= #seen do
    local n = 1
    while seen[at + n] == seen[at] do n = n + 1 end
    print(n > 1 and ("%s, %d times"):format(seen[at], n) or seen[at])
    at = at + n
  end
end

-- What a world has beyond what all have.
local function with(common, options)
  for name, value in pairs(options) do common[name] = value end
  return common
end

local function world(title, in_builder, in_engine)
  local builder = assert(gdn.builder(with({ device = "cpu", max_num_seqs = 12, max_num_batched_tokens = 80,
                                            num_slots = 30, max_blocks_per_row = 2 }, in_builder)))
  local common = { builder = builder, max_model_len = 60, kv_tokens = 400 }
  local engine, now = assert(gdn.engine(with(common, in_engine))), 0
  seen = {}
  local function submit(id, most)
    local tokens = in_engine.hash_block_size and {} or nil
    for k = 1, tokens and 4 + id or 0 do tokens[k] = k end
    assert(engine:submit { id = id, prompt_tokens = 4 + id, max_tokens = most, tokens = tokens })
  end
  return engine, submit, function(what)
    now, seen = now + 1, {}
    local step = assert(engine:step(now))
    for row = 0, step.num_rows - 1 do step.accepted_drafts[row] = math.max(step.drafts[row] - row % 2, 0) end
    assert(engine:complete(step, now))
    print_seen(title .. ", " .. what)
  end
end

local function play(title, in_engine)
  local engine, submit, step = world(title, {}, in_engine)
  for id = 1, 11 do submit(id, id < 3 and 3 or 9) end
  step "prompts come in"
  step "one is left, others decode"
  step "some end"
  step "the running ones are others"
  step "like the one before"
  engine:cancel(9)
  step "one was cancelled"
  engine:cancel(10)
  step "another was"
  step "few are left"
  engine:close()
end

play("no cache", {})
play("a state cache", { hash_block_size = 4 })

-- Decodes with drafts: here and there one ends a block, and others are as usual.
local engine, submit, step = world("blocks", {
  mamba_cache_mode = "align", mamba_block_size = 8, num_slots = 60, max_blocks_per_row = 12,
  num_speculative_tokens = 2,
}, { hash_block_size = 8 })
for id = 1, 6 do submit(id, 30) end
for n = 1, 9 do step("step " .. n) end
engine:close()
