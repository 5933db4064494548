-- Plays of engines of every make, of which a host that may do everything notes all that can be seen: of each
-- step, request, refusal, print, page of metrics and line of a recording.
local all_seen = require "spec.support.all_seen"
local cache_chaos = require "spec.support.cache_chaos"
local gdn = require "gdnmeta"
local host_moves = require "spec.support.host_moves"
local other_numbers = require "spec.support.other_numbers"
local recordings = require "spec.support.recordings"
local texts = require "spec.support.step_texts"
local traffic = require "spec.support.random_traffic"
local wild_cache = require "spec.support.wild_cache"

local random = math.random
local STEPS = 40

local function chance(p) return random() < p end
local function pick(list) return list[random(#list)] end

-- Beyond what random traffic draws itself.
local function configuration(case)
  local c = traffic.configuration()
  c.check, c.async, c.forks, c.breaker = false, chance(0.4), true, pick { 1, 3, 1000 }
  if chance(0.3) then
    c.max_model_len = random(3, 24)
    c.kv_tokens = c.kv_tokens and c.max_model_len + c.kv_block + random(0, 30)
  end
  if chance(0.3) then traffic.in_buckets(c) end
  if case % 3 > 0 and chance(0.1) then
    c.chunked, c.threshold, c.align, c.block, c.budget = false, 0, false, 16, c.max_model_len
  end
  if chance(0.3) then c.num_slots = 1 + (c.align and c.num_spec + 4 or c.num_spec + 1) + random(0, 6) end
  c.checkpoint_any = c.align and chance(0.5) or nil
  c.preempt_limit, c.rekey_limit = pick { 0, 1, 3 }, pick { 1, 3, 128 }
  c.aging, c.ttft, c.tpot = pick { 0, 5, 20 }, pick { 5, 1e3, math.huge }, pick { 2, 1e3, math.huge }
  if c.full_cuda_graph ~= "mixed" then c.capture_sizes = pick { false, { 1, 2, 5, 8, 40 } } or nil end
  c.default_drafts = chance(0.5) and random(0, c.num_spec) or nil
  c.cost = { predict = function(...) return select("#", ...) end,
             tokens_within = function(seconds, rows) return math.max(seconds, 0) * 4 + rows end }
  if case % 3 == 0 then
    if c.align then c.kv_block, c.kv_tokens = c.block, c.kv_tokens and c.kv_tokens + c.block end
    c.hash_block = c.kv_block * random(2)
    c.host_slots = chance(0.5) and random(8) or 0
    c.cache = wild_cache(random, c.host_slots > 0, true)
  end
  return c
end

-- What a step is, and a closer look now and then.
local function onlooker(engine, o, note)
  function o.on_step(step)
    all_seen.step(note, step, engine)
    if step.num_rows > 0 and step.number % 4 == 0 then all_seen.metadata(note, step) end
    for _, id in ipairs(step.ids) do all_seen.request(note, engine, id) end
  end
  function o.on_done(step)
    all_seen.done(note, step)
    for _, id in ipairs(step.ids) do all_seen.request(note, engine, id) end
    if step.number % 5 == 0 then all_seen.engine(note, engine) end
  end
end

-- Lines of a recording, whose fields are in any order.
local function note_recording(note, path)
  for _, line in ipairs(recordings.lines(recordings.read(path))) do
    local parts = {}
    for part in line:gsub("[{}]", ""):gsub('"[%w_]+":', "\n%0"):gmatch "[^\n]+" do
      if not part:find '^"library"' then parts[#parts + 1] = part:gsub(",$", "") end
    end
    table.sort(parts)
    note(table.concat(parts, ","))
  end
end

local function figures(case, c, engine, host, sum)
  local s = engine.stats
  return ("%d%s%s%s: %d steps, %d tokens, %d refused, %d preempted, %d rejected, %d failures: %.0f"):format(
    case, c.align and " align" or " none", c.async and " async" or "", c.hash_block and " cached" or "",
    s.steps, s.emitted, host.refused, s.preemptions, s.rejected, s.failures, sum)
end

local M = {}

--- A play, as a line. change(c): of its configuration.
---@param case integer
---@param change function|nil
---@return string
function M.play(case, change)
  math.randomseed(case)
  local c, sum, path = configuration(case), 7, os.tmpname()
  if change then change(c) end
  local function note(value) sum = texts.sum(sum, value) end
  local engine = traffic.engine(c, pick { "fcfs", "fair", "priority", "deadline" })
  if case % 3 > 0 then other_numbers(engine, case % 5 + 1) end
  local metrics = gdn.metrics(engine)
  local recording = not c.accepted and assert(engine:record(path)) -- what the device has is in no file
  local o = { draw = random, async = c.async, spec = c.num_spec, size = c.hash_block,
              has_host = (c.host_slots or 0) > 0, note = note, where = "play " .. case, steps = STEPS,
              more = host_moves }
  onlooker(engine, o, note)
  local host = cache_chaos.play(engine, o)
  all_seen.failures(note, engine)
  all_seen.engine(note, engine)
  note(metrics:text())
  if recording then
    assert(recording:close())
    note_recording(note, path)
  end
  os.remove(path)
  local line = figures(case, c, engine, host, sum)
  engine:close()
  return line
end

return M
