-- Puts one wrong element into one tensor of one step, and takes it back when the layer has run.
local M = {}

-- The step as corruptions.lua wants it.
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

return M
