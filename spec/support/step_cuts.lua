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

local function play(title, cached)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 12, max_num_batched_tokens = 80,
                                       num_slots = 30, max_blocks_per_row = 2 })
  local engine = assert(gdn.engine { builder = builder, max_model_len = 60, kv_tokens = 400,
                                     hash_block_size = cached and 4 or nil })
  local now = 0
  local function step(what)
    now, seen = now + 1, {}
    assert(engine:complete(assert(engine:step(now)), now))
    print_seen(title .. ", " .. what)
  end
  seen = {}
  for id = 1, 11 do
    local tokens = cached and {} or nil
    for k = 1, cached and 4 + id or 0 do tokens[k] = k end
    assert(engine:submit { id = id, prompt_tokens = 4 + id, max_tokens = id < 3 and 3 or 9, tokens = tokens })
  end
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

play("no cache")
play("a state cache", true)
