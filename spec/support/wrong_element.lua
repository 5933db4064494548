-- Puts one wrong element into one tensor of one step, and takes it back when the layer has run.
local layer_play = require "spec.support.layer_play"
local play = require "spec.support.random_traffic"

local M = {}

-- The step as wrong_elements.lua wants it.
local function describe_step(engine, meta, rows, step)
  local s = { meta = meta, spec = {}, plain = {}, prefills = {}, tokens = step.num_tokens,
              slots = engine.builder.num_slots[1], num_spec = engine.num_spec }
  for _, row in ipairs(rows) do
    local half = meta.num_spec_decodes > 0 and row.drafts >= 0 and s.spec or s.plain
    half[#half + 1] = row
  end
  for n = meta.num_decodes + 1, meta.num_prefills > 0 and #s.plain or 0 do
    s.prefills[#s.prefills + 1] = s.plain[n]
  end
  -- The column that the request goes on from, or ends in.
  function s.last_column(row)
    local q, stop = engine:request(row.id), nil
    for n = 0, step.num_rows - 1 do
      if step:id(n) == row.id then stop = step.stop[n] end
    end
    local emitted = stop > 0 and stop or row.accepted + 1
    return math.min(emitted, q.max_tokens - q.emitted, engine.private.options.max_model_len - q.known) - 1
  end
  return s
end

--- A function for layer_kernel's `corrupt` that goes wrong once, at the `turn`th step that allows it; and
--- the record of it: { done, what }.
function M.once(engine, entry, turn)
  local tensor, elements, becomes = entry[1], entry[2], entry[3]
  local record = { done = false, seen = 0 }
  return function(meta, step, rows)
    local view = meta[tensor]
    if record.done or not view then return nil end
    local s = describe_step(engine, meta, rows, step)
    local list = elements(s, tensor)
    if #list == 0 then return nil end
    record.seen = record.seen + 1
    if record.seen < turn then return nil end
    local i = list[math.random(#list)]
    local right, data = view[i], view.data
    local wrong = becomes(right, s)
    if wrong == right then return nil end
    record.done = true
    record.what = ("%s[%d] = %s instead of %s"):format(tensor, i, tostring(wrong), tostring(right))
    data[i] = wrong
    return function() data[i] = right end
  end, record
end

-- Traffic in which a wrong element cannot be forgiven: no request is cancelled, no two texts are alike, and
-- all of the kinds of rows meet. A play that preempted is not counted, for what runs again forgives.
local function unforgiving(align, num_spec, changes)
  local c = { align = align, num_spec = num_spec, num_groups = 2, seqs = 6, block = align and 8 or 16,
              threshold = 0, max_model_len = 120, budget = 90, num_slots = 60, full_cuda_graph = true,
              kv_block = 1, kv_watermark = 0 }
  for name, value in pairs(changes) do c[name] = value end
  local requests = play.requests(c, 14)
  for n, request in ipairs(requests) do request.family = n end
  return c, requests
end

--- Play such traffic with one wrong element. changes: of the configuration; opts(c, engine): layer_play's.
---@return boolean ok, any message, table record its `done` is false where a request was preempted
function M.play(entry, seed, changes, opts)
  math.randomseed(seed)
  local c, requests = unforgiving(seed % 2 == 0, seed % 5 == 0 and 0 or 2, changes)
  if entry.keeps then -- prompts of several chunks, which leave states within them for others
    c.forks, c.checkpoint_any, c.max_model_len, c.budget = true, true, 200, 190
  end
  local policy, record = layer_play.SHIPPED[seed % #layer_play.SHIPPED + 1], nil
  local ok, message, stats = layer_play.run(c, ("GDN_SEED=%d"):format(seed), policy, function(_, engine)
    local given = opts and opts(c, engine) or {}
    given.requests, given.cancel, given.checkpoints = requests, 0, false
    given.keeps = entry.keeps
    given.corrupt, record = M.once(engine, entry, math.random(6))
    return given
  end)
  record.done = record.done and (not ok or stats.preemptions == 0)
  return ok, message, record
end

--- Play until the element has been wrong `times` times: body(ok, message, what) each time.
function M.try(entry, times, changes, body)
  local seed, done = layer_play.first_seed(), 0
  for attempt = seed, seed + 40 * times do
    local ok, message, record = M.play(entry, attempt, changes)
    if record.done then
      body(ok, message, ("GDN_SEED=%d %s"):format(attempt, record.what))
      done = done + 1
      if done == times then return end
    else
      assert(ok, message)
    end
  end
  error(("%s was wrong %d times only"):format(entry[1], done))
end

--- It showed in a value or led out of something, which is not to say that the spec itself went wrong.
function M.assert_shown(ok, message, what)
  assert(not ok, what)
  assert(message:find("alone", 1, true) or message:find("want", 1, true), what .. ": " .. tostring(message))
end

function M.assert_unseen(ok, message, what) assert(ok, what .. ": " .. tostring(message)) end

return M
