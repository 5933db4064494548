-- Why a request waits, as far as the engine knows: read from the plan and the pools after a step was planned.
local plans = require "gdnmeta.engine.plan"

local M = {}

-- Word in the file -> sentence.
M.WORDS = {
  seats = "as many requests run as may (max_num_seqs)",
  budget = "no tokens of the step were left (max_num_batched_tokens)",
  whole = "its prompt is longer than what was left of the step's tokens (without chunked_prefill)",
  align = "less than a block of the step's tokens was left (mode align)",
  slots = "no state slots were free",
  kv = "its text did not fit into what was free of the attention cache",
  held = "the policy held it back",
  flight = "a step in flight still names it",
  preempting = "nothing is admitted in a step that preempts",
  tight = "running requests were short of memory: nothing is admitted until they have it",
  queue = "it would have fitted, others went before it",
}

--- Why request i, which waits, is not in the step that was just planned.
---@param e table engine
---@param i integer
---@return string reason one of WORDS
function M.of(e, i)
  local plan, r = e.plan, e.requests
  if r.flight[i] > 0 then return "flight" end
  local held = rawget(r, "held") and r.held[i] or 0 -- the last step in which the policy held it
  if r.mark[i] == plans.SKIPPED or held == e.step_number then return "held" end
  if plan.num_victims > 0 and not e.admit_after_preemption then return "preempting" end
  if plan.seqs_left < 1 then return "seats" end
  if plan.is_short or e.is_tight and e.num_running > 0 then return "tight" end
  if plan.tokens_left < 1 then return "budget" end
  local n, why = e.token_limits:chunk(i, plan.tokens_left, plan.tokens_left)
  if n == 0 then return why == "align" and "align" or e.token_limits.chunked and "budget" or "whole" end
  local fits
  fits, why = plan:fits(i, n)
  if fits then return held > 0 and "held" or "queue" end
  return M.WORDS[why] and why or "seats"
end

return M
