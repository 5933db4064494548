-- Replays a workload through a policy and the builder in virtual time: a step takes 20 ms, idle
-- time jumps to the next arrival. Tokens are conserved, or it names the request whose are not.
--   make demo [TRACE=file]        luajit examples/replay.lua [file]
local ffi = require "ffi"
local gdn = require "gdnmeta"
local wall_clock = require "gdnmeta.sim.wall_clock"
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local STEP = 0.020 -- seconds

ffi.cdef 'int gdn_replay_isatty(int fd) __asm__("isatty");'

-- Sizes that graphs were captured at: pad_to[n] is the smallest that holds n tokens.
local pad_to = {}
for n = 1, 512 do
  local step = n <= 4 and 1 or n <= 248 and 8 or 16
  pad_to[n] = n == 3 and 4 or math.ceil(n / step) * step
end

local function check(ok, ...)
  if not ok then error(string.format(...), 0) end
end

-- What a run adds up. The numbers of tokens that each request got are the driver's own: a policy
-- that loses count is found out.
local function new_run(requests)
  local run = { requests = requests, scheduled_of = {}, emitted_of = {}, build = {} }
  for id = 1, #requests do run.scheduled_of[id], run.emitted_of[id] = 0, 0 end
  for _, sum in ipairs { "finished", "steps", "emitted", "prefill_tokens", "decode_tokens", "padded",
                         "padding", "rows", "tokens" } do
    run[sum] = 0
  end
  return run
end

-- Build the batch, and note what the step took and what its metadata counts.
local function build(run, builder, batch, running, rows)
  local tokens, prefilling = 0, false
  for i = 1, rows do
    local r = running[i]
    tokens = tokens + r.take
    prefilling = prefilling or run.scheduled_of[r.id] < run.requests[r.id].prompt
  end
  if not prefilling then
    local size = assert(pad_to[rows])
    assert(batch:pad(size, size))
    run.padded, run.padding = run.padded + size, run.padding + size - tokens
  end

  run.steps = run.steps + 1
  local before = wall_clock()
  local meta, err = builder:build(batch)
  run.build[run.steps] = wall_clock() - before
  check(meta, "step %d: %s", run.steps, err)

  local prefill, decode = meta.num_prefill_tokens, meta.num_decode_tokens
  check(prefill + decode == tokens, "step %d: %d tokens in the metadata, the policy scheduled %d",
    run.steps, prefill + decode, tokens)
  check(meta.num_prefills + meta.num_decodes == rows, "step %d: %d rows in the metadata, the policy has %d",
    run.steps, meta.num_prefills + meta.num_decodes, rows)
  local slots = meta.non_spec_state_indices_tensor
  for i = 1, rows do
    check(slots[i - 1] == running[i].slot, "step %d: row %d has slot %d, the request owns %d",
      run.steps, i - 1, slots[i - 1], running[i].slot)
  end
  run.prefill_tokens, run.decode_tokens = run.prefill_tokens + prefill, run.decode_tokens + decode
  run.rows, run.tokens = math.max(run.rows, rows), math.max(run.tokens, tokens)
end

-- The step has run: the one that completes a prompt emits the first output token.
local function complete(run, running, rows)
  for i = 1, rows do
    local r = running[i]
    local id = r.id
    local want = run.requests[id]
    local scheduled = run.scheduled_of[id] + r.take
    run.scheduled_of[id], r.computed = scheduled, scheduled
    if scheduled >= want.prompt then
      local emitted = run.emitted_of[id] + 1
      run.emitted_of[id], r.emitted = emitted, emitted
      run.emitted = run.emitted + 1
      check(emitted <= want.output, "request %d: %d tokens emitted, want %d", id, emitted, want.output)
      if emitted == want.output then
        check(scheduled == want.prompt + want.output - 1, "request %d: %d tokens scheduled, want %d",
          id, scheduled, want.prompt + want.output - 1)
        run.finished = run.finished + 1
      end
    end
  end
end

local function check_sums(run)
  local scheduled, emitted = 0, 0
  for _, q in ipairs(run.requests) do
    scheduled, emitted = scheduled + q.prompt + q.output - 1, emitted + q.output
  end
  run.scheduled = run.prefill_tokens + run.decode_tokens
  check(run.scheduled == scheduled, "%d tokens scheduled, the workload has %d", run.scheduled, scheduled)
  check(run.emitted == emitted, "%d tokens emitted, the workload has %d", run.emitted, emitted)
end

--- Run `requests` (by arrival) to the end; progress(run) is called after every step.
local function replay(requests, policy_class, progress)
  local rows_max, budget = policy_class.ROWS, policy_class.BUDGET
  local builder = assert(gdn.builder {
    device = "cpu", full_cuda_graph = true, max_cudagraph_capture_size = 512,
    max_num_seqs = rows_max, max_num_batched_tokens = budget, num_slots = rows_max + 1,
  })
  local policy, batch, run = policy_class.new(builder), assert(builder:batch()), new_run(requests)
  local now, arrived, start = 0, 0, wall_clock()
  while run.finished < #requests do
    while arrived < #requests and requests[arrived + 1].arrival <= now do
      arrived = arrived + 1
      local q = requests[arrived]
      policy:submit { id = arrived, prompt = q.prompt, output = q.output, computed = 0, emitted = 0 }
    end
    batch:clear()
    local running, rows = policy:schedule(batch)
    if rows > 0 then
      build(run, builder, batch, running, rows)
      complete(run, running, rows)
      now = now + STEP
      if progress then progress(run) end
    else
      check(arrived < #requests, "the policy runs no request, and %d wait", #requests - run.finished)
      now = requests[arrived + 1].arrival
    end
  end
  run.virtual, run.seconds = now, (wall_clock() - start) / 1e9
  check_sums(run)
  builder:close()
  return run
end

local function commas(n)
  return (("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local function percentile(sorted, p) -- nearest rank
  return sorted[math.max(1, math.ceil(#sorted * p / 100))]
end

local function report(s)
  table.sort(s.build)
  return table.concat({
    ("requests         %s finished, %.0f s of virtual time"):format(commas(#s.requests), s.virtual),
    ("steps            %s"):format(commas(s.steps)),
    ("prefill tokens   %s"):format(commas(s.prefill_tokens)),
    ("decode tokens    %s"):format(commas(s.decode_tokens)),
    ("scheduled        %s = sum of prompt + output - 1"):format(commas(s.scheduled)),
    ("emitted          %s = sum of output"):format(commas(s.emitted)),
    ("padding waste    %.2f %% of the tokens of decode-only steps (%s of %s)"):format(
      100 * s.padding / math.max(s.padded, 1), commas(s.padding), commas(s.padded)),
    ("largest batch    %d rows, %s tokens"):format(s.rows, commas(s.tokens)),
    ("build time       p50 %.2f us, p99 %.2f us"):format(
      percentile(s.build, 50) / 1e3, percentile(s.build, 99) / 1e3),
    ("steps a second   %s"):format(commas(s.steps / s.seconds)),
  }, "\n")
end

-- A line rewritten ten times per second on a terminal, a line every tenth of the work in a pipe.
local function show_progress(requests)
  local terminal, tenth = ffi.C.gdn_replay_isatty(1) == 1, math.ceil(#requests / 10)
  local due = terminal and 0 or tenth
  return function(s)
    local at, last = terminal and wall_clock() or s.finished, s.finished == #requests
    if at < due and not last then return end
    due = at + (terminal and 1e8 or tenth)
    io.write(terminal and "\r\27[K" or "", ("%s of %s requests, %s steps"):format(
      commas(s.finished), commas(#requests), commas(s.steps)), terminal and not last and "" or "\n")
    io.flush()
  end
end

local function main(path)
  local requests, err
  if path then requests, err = trace.read(path) else requests = workload.generate { requests = 20000 } end
  check(requests, "%s", err)
  for _, note in ipairs(path and trace.notices(requests) or {}) do print(note) end
  print(report(replay(requests, require "examples.fcfs", show_progress(requests))))
end

if arg and arg[0] and arg[0]:find "replay%.lua$" then
  local ok, err = pcall(main, ...)
  if not ok then
    io.stderr:write("replay: ", tostring(err), "\n")
    os.exit(1)
  end
end
return { replay = replay, report = report }
