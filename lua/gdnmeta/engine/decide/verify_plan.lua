-- Is the plan legal? Recomputed from the plan and the requests alone, whichever policy filled it. Numbers are
-- those of the invariants: the engine packs, pads and counts so that the others hold.
local rules = require "gdnmeta.engine.decide.rules"
local requests = require "gdnmeta.engine.requests"
local joint = require("gdnmeta.native.trace_cuts").joint

local decodes_are_proven, is_verified = joint(), joint()

local RUNNING, WAITING = requests.RUNNING, requests.WAITING
local floor, max = math.floor, math.max

local M = {}

local function problem_with(e, number, i, n, want)
  local id = tostring(e.requests.id[i])
  return ("%srequest %s takes %d tokens, want %d"):format(rules[number], id, n, want), i
end

-- I9: the threshold applies to a prompt while other prompts wait or run. One of more than a token is itself
-- among those that are counted.
local function is_beside_others(e)
  local prompts = e.fifo.size
  for at = 0, e.num_running - 1 do
    if not e.token_limits:is_decode(e.running[at]) then prompts = prompts + 1 end
  end
  return prompts > 1
end

-- I9, I10, I11: what a stretch of text may be.
local function chunk_problem(e, i, n)
  local limits, computed, known = e.token_limits, e.requests.computed[i], e.requests.known[i]
  if computed + n > known then return "I5", max(known - computed, 0) end -- also where steps in flight end it
  if limits.threshold > 0 and n > limits.threshold and is_beside_others(e) then
    return "I9", limits.threshold
  end
  if not limits.chunked and n ~= known - computed then return "I10", known - computed end
  if not limits.align then return nil end
  local block = limits.block
  local last = max((floor(known / block) - (e.num_spec > 0 and 1 or 0)) * block, 0)
  local ends = computed + n
  if computed < last and computed % block ~= 0 then -- begun by a source
    return ends > computed - computed % block + block and "I11" or nil, block - computed % block
  end
  if computed < last and (ends > last or n % block ~= 0) then
    return "I11", last - computed
  end
end

-- I5, I6, I7: a decode takes one token and the drafts that were proposed first.
local function prove_decodes(e, sum)
  local plan, r, round, limits = e.plan, e.requests, e.verify_round, e.token_limits
  local decodes, drafted, most, last = plan.decodes, plan.drafts, e.num_spec, limits.max_model_len - 1
  local tokens, slots, kv = 0, 0, 0
  for p = 0, plan.num_decodes - 1 do
    local i, drafts = decodes[p], drafted[p]
    local n = 1 + drafts
    local ends = r.computed[i] + n
    if r.seen[i] == round then return problem_with(e, "I1", i, n, 0) end
    if drafts < 0 then return problem_with(e, "I2", i, n, 1) end
    if r.state[i] ~= RUNNING then return problem_with(e, "I4", i, n, 0) end
    if r.computed[i] < r.prompt[i] or ends - r.known[i] - r.placeholders[i] ~= drafts
      or drafts > r.drafts[i] or drafts > most then
      return problem_with(e, "I7", i, n, 1 + r.drafts[i])
    end
    if ends > last then return problem_with(e, "I6", i, n, last - r.computed[i]) end
    if not limits:may_run(i) then return problem_with(e, "I5", i, n, 0) end
    r.seen[i] = round
    local more_slots, more_kv = e.states:needs(i, ends, drafts)
    tokens, slots, kv = tokens + n, slots + more_slots, kv + more_kv
  end
  sum.tokens, sum.slots, sum.kv = tokens, slots, kv
end

local function prove_chunk(e, sum, p)
  local plan, r = e.plan, e.requests
  local i, n = plan.chunks[p], plan.tokens[p]
  local waits, ends = r.state[i] == WAITING, r.computed[i] + n
  if r.seen[i] == e.verify_round then return problem_with(e, "I1", i, n, 0) end
  if n < 1 then return problem_with(e, "I2", i, n, 1) end
  if not waits and r.state[i] ~= RUNNING or waits and r.flight[i] > 0 then
    return problem_with(e, "I4", i, n, 0)
  end
  local number, want = chunk_problem(e, i, n)
  if number then return problem_with(e, number, i, n, want) end
  r.seen[i] = e.verify_round
  local more_slots, more_kv = e.states:needs(i, ends, 0)
  sum.tokens, sum.slots, sum.kv = sum.tokens + n, sum.slots + more_slots, sum.kv + more_kv
  if waits then sum.admitted = sum.admitted + 1 end
end

local function prove_chunks(e, sum)
  for p = 0, e.plan.num_chunks - 1 do
    local problem, i = prove_chunk(e, sum, p)
    if problem then return problem, i end
  end
end

-- I22. What victims give back now counts as free.
local function prove_victims(e, sum)
  local plan, r = e.plan, e.requests
  for v = 0, plan.num_victims - 1 do
    local i = plan.victims[v]
    if r.state[i] ~= RUNNING or r.seen[i] == e.verify_round then
      return ("%srequest %s is preempted, want one that runs, once, and is not scheduled"):format(
        rules.I22, tostring(r.id[i])), i
    end
    r.seen[i] = e.verify_round
    if r.flight[i] == 0 then
      sum.slots, sum.kv = sum.slots - e.states:held_slots(i), sum.kv - e.states:held_kv(i)
      sum.table_rows = sum.table_rows + 1
    end
  end
end

local function prove_sums(e, sum)
  local plan, states = e.plan, e.states
  if sum.tokens > e.max_num_batched_tokens then
    return ("%sthe plan has %d tokens, want at most %d"):format(rules.I3, sum.tokens,
                                                                 e.max_num_batched_tokens)
  end
  local running = e.num_running - plan.num_victims + sum.admitted
  if running > e.max_num_seqs or sum.admitted > states.free_table_rows + sum.table_rows then
    return ("%s%d requests would run, want at most %d"):format(rules.I4, running, e.max_num_seqs)
  end
  if sum.admitted > 0 and plan.num_victims > 0 and not e.admit_after_preemption then
    return rules.I21 .. "the plan admits in a step that preempts"
  end
  if sum.slots > states:free_slots() then
    return ("%sthe plan needs %d slots per group, %d are free"):format(rules.I13, sum.slots,
                                                                      states:free_slots())
  end
  if states.limited and sum.kv > states.free_kv then
    return ("%sthe plan needs %d blocks of attention cache, %d are free"):format(rules.I13, sum.kv,
                                                                                states.free_kv)
  end
end

-- What is not a decode.
local function prove_others(e, sum)
  local problem, i = prove_chunks(e, sum)
  if not problem then problem, i = prove_victims(e, sum) end
  if not problem then problem, i = prove_sums(e, sum) end
  return problem, i
end

local sum = {} -- tokens, slots, kv, admitted, table_rows

--- nil, or what is wrong and with which request.
---@return string|nil problem, integer? i
function M.problem(e)
  e.verify_round = e.verify_round + 1
  sum.admitted, sum.table_rows = 0, 0
  local problem, i = prove_decodes(e, sum)
  decodes_are_proven()
  if not problem then problem, i = prove_others(e, sum) end
  is_verified()
  return problem, i
end

return M
