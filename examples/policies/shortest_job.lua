-- The shortest job first, where clients say how long their answers will be (max_tokens), or something that
-- predicts it does: a token of an answer takes a step, as some eight tokens of a prompt do. A second in the
-- queue is worth what it is to shortest_prefill, so that no request starves.
--   gdnmeta simulate --known-lengths --rate 14 --policy fcfs --policy examples/policies/shortest_job.lua
local PROMPT = 1 / 8 -- of a token of an answer

return {
  key = function(r, ctx)
    local job = PROMPT * (r.known - r.computed_tokens) + r.max_tokens - r.emitted
    return job - PROMPT * ctx.aging * r.age
  end,
}
