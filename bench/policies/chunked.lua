-- Chunked prefill against whole prompts first (after Sarathi-Serve): how long a reader waits between two
-- tokens while others' prompts are computed, and the highest rate at which 99 % of the gaps stay below 100 ms
-- and half of the requests wait for less than 2 s.
local GAP_MS, QUEUE_MS, RATE = 100, 2000, 5

-- Prompts whole, as many as fit a step, and no decode beside them: what servers did before chunks.
local function whole_prompts_first(view, plan)
  local has_prompts = false
  for i in view:waiting() do
    if not plan:admit(i) then break end
    has_prompts = true
  end
  for i in view:running() do
    if has_prompts then plan:skip(i) else plan:take(i) end
  end
end

local function options(policy, rate, chunked)
  return { policy = policy, trusted = true, rate = rate, chunked_prefill = chunked, kv_tokens = 0,
           max_num_batched_tokens = 16384, workload = { seed = 3, requests = 1000 } }
end

local function chunked(s, rate) return s:simulate("chunked", options("decode_first", rate, true)) end
local function whole(s, rate) return s:simulate("whole", options(whole_prompts_first, rate, false)) end

-- The highest rate, to 2 %, at which p99 of the gaps keeps the target.
local function capacity(s, run)
  local low, high = 0.25, 32
  while high / low > 1.02 do
    local rate = math.sqrt(low * high)
    local figures = run(s, rate)
    local kept = figures.itl.p99 <= GAP_MS and figures.queue.p50 <= QUEUE_MS
    if kept then low = rate else high = rate end
  end
  return low
end

return {
  light = true,
  about = "chunked prefill against whole prompts first: gaps between tokens, and the rate that keeps them",
  run = function(s)
    s:report("gap_max_ms", chunked(s, RATE).itl.max, "<=", 60)
    s:report("whole_gap_max_ms", whole(s, RATE).itl.max, ">=", 2000)
    local high, low = capacity(s, chunked), capacity(s, whole)
    s:note(("p99 of gaps <= %d ms up to %.2f requests per second, whole prompts first up to %.2f"):format(
      GAP_MS, high, low))
    s:report("capacity_ratio", high / low, ">=", 2.6)
  end,
}
