-- What engines with a state cache do with all that a host may do, drawn: a checksum of every step, answer and
-- look at the cache of each play, with counts beside it, against spec/goldens/texts.
local cache_chaos = require "spec.support.cache_chaos"
local drawer = require "spec.support.drawer"
local golden = require "spec.support.golden"
local other_numbers = require "spec.support.other_numbers"
local positions = require "gdnmeta.engine.prefix.positions"
local small_index = require "spec.support.small_index"
local texts = require "spec.support.step_texts"

local PLAYS, STEPS = 48, 60

-- What a host can see besides steps.
local function look(engine, note)
  local lines = {}
  for k = 1, 5 do texts.flatten("", engine:session("s" .. k) or {}, lines) end
  for _, node in ipairs(engine.cache:nodes(8)) do texts.flatten("", node, lines) end
  note(table.concat(lines, ";"))
  note(texts.numbers(engine.cache:stats()))
  note(texts.numbers(engine:slots()))
end

local function play(case)
  local engine, o = cache_chaos.engine(drawer(48271 * case + 11), true)
  if case % 3 > 0 then other_numbers(engine, case % 5 + 1) end
  local sum = 7
  local function note(value) sum = texts.sum(sum, value) end
  o.note = note
  function o.on_step(step)
    note(texts.step(step, engine))
    for row = 0, step.num_rows - 1 do
      local request = row < 1 and engine:request(step:id(row))
      if request then note(texts.numbers(request)) end
    end
  end
  function o.on_done(step)
    note(texts.done(step))
    if step.number % 10 == 0 then look(engine, note) end
  end
  o.where, o.steps = "play " .. case, STEPS
  local host = cache_chaos.play(engine, o)
  local failure = engine:failures()[1]
  assert(not failure, failure and failure.message)
  note(texts.numbers(engine.stats))
  local s, c = engine.stats, engine.cache:stats()
  local line = "%d%s: %d steps, %d refused, %d lies, %d hits, %d preempted, %d evicted, %d restored: %.0f"
  line = line:format(case, o.async and " async" or "", s.steps, host.refused, host.lies, s.hits,
    s.preemptions, c.states_evicted, c.restored, sum)
  engine:close()
  return line
end

-- So many engines are sooner done than compiled: half the time.
describe("Plays of engines with a state cache", function()
  setup(jit.off)
  teardown(jit.on)

  it("come to these sums", function()
    local lines = {}
    for case = 1, PLAYS do lines[case] = play(case) end
    golden("cache-plays", table.concat(lines, "\n") .. "\n")
  end)

  it("know what is before a node, and what stretches of text cost", function()
    local index, lines = small_index.new(), {}
    for _, text in ipairs { "ab", "abcd", "abce", "x" } do
      small_index.publish(index, text, text ~= "abce" and small_index.slots_of() or nil)
    end
    for node = 0, 4 do
      local t = index:describe(node)
      lines[#lines + 1] = ("%d: %d tokens, %d bytes of state, before it %d"):format(node, t.tokens,
        t.state_bytes, index:state_before(node))
    end
    for _, to in ipairs { 0, 1, 16, 1000, 2 ^ 17, 1e6 } do
      lines[#lines + 1] = ("%.9g %.9g"):format(positions.flops(0, to), positions.flops(to, to + 512))
    end
    golden("cache-before", table.concat(lines, "\n") .. "\n")
  end)
end)
