-- Drafts by batch size: speculation pays while the weights are what takes the time, and costs when the
-- tokens do. Few running requests draft all that is proposed, many draft none.
--   gdnmeta simulate --drafts 3 --policy fcfs --policy examples/policies/drafts_by_batch.lua
return {
  order = "fcfs",
  drafts = function(_, k, ctx)
    if ctx.running <= 16 then return k end
    return ctx.running <= 48 and math.min(k, 1) or 0
  end,
}
