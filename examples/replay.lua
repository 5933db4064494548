-- Replays a workload through a policy and the builder in virtual time: a step takes 20 ms, idle
-- time jumps to the next arrival. Tokens are conserved, or it says whose are not.
--   make demo [TRACE=file]        luajit examples/replay.lua [file]
local ffi = require "ffi"
local gdn = require "gdnmeta"
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local STEP = 0.020 -- seconds

ffi.cdef [[
int gdn_replay_clock(int clock, int64_t *time) __asm__("clock_gettime");
int gdn_replay_isatty(int fd) __asm__("isatty");
]]
local timespec = ffi.new "int64_t[2]"
local function ns() -- since some moment, CLOCK_MONOTONIC
  ffi.C.gdn_replay_clock(1, timespec)
  return tonumber(timespec[0]) * 1e9 + tonumber(timespec[1])
end

-- Sizes that graphs were captured at: pad_to[n] is the smallest that holds n tokens.
local pad_to = {}
for n = 1, 512 do
  local step = n <= 4 and 1 or n <= 248 and 8 or 16
  pad_to[n] = n == 3 and 4 or math.ceil(n / step) * step
end

local function check(ok, ...)
  if not ok then error(string.format(...), 0) end
end

--- Apply a step to the requests of its rows: the one that completes a prompt emits its first token.
local function complete(running, rows)
  local emitted, finished = 0, 0
  for i = 1, rows do
    local r = running[i]
    r.computed = r.computed + r.take
    if r.computed >= r.prompt then
      r.emitted = r.emitted + 1
      emitted = emitted + 1
      if r.emitted == r.output then
        check(r.computed == r.prompt + r.output - 1, "request %d: %d tokens scheduled, want %d",
          r.id, r.computed, r.prompt + r.output - 1)
        finished = finished + 1
      end
    end
    check(r.emitted <= r.output, "request %d: %d tokens emitted, want %d", r.id, r.emitted, r.output)
  end
  return emitted, finished
end

--- Run `requests` (by arrival) to the end. progress(stats) is called after every step.
local function replay(requests, policy_class, progress)
  local builder = assert(gdn.builder {
    device = "cpu", max_num_seqs = policy_class.ROWS, max_num_batched_tokens = policy_class.BUDGET,
    num_slots = policy_class.ROWS + 1, max_requests = policy_class.ROWS,
    full_cuda_graph = true, max_cudagraph_capture_size = 512,
  })
  local policy, batch = policy_class.new(builder), builder:batch()
  local stats = {
    requests = #requests, finished = 0, steps = 0, scheduled = 0, emitted = 0,
    prefill_tokens = 0, decode_tokens = 0, padded = 0, padding = 0, rows = 0, tokens = 0, build = {},
  }
  local now, arrived, start = 0, 0, ns()

  while stats.finished < #requests do
    while arrived < #requests and requests[arrived + 1].arrival <= now do
      arrived = arrived + 1
      local q = requests[arrived]
      policy:submit { id = arrived, prompt = q.prompt, output = q.output, computed = 0, emitted = 0 }
    end
    batch:clear()
    local running, rows = policy:schedule(batch)
    if rows == 0 then
      check(arrived < #requests, "the policy runs nobody, and %d requests wait", #requests - stats.finished)
      now = requests[arrived + 1].arrival
    else
      local tokens, prefilling = 0, false
      for i = 1, rows do
        local r = running[i]
        tokens = tokens + r.take
        prefilling = prefilling or r.computed < r.prompt
      end
      if not prefilling then
        batch:pad(pad_to[rows], pad_to[rows])
        stats.padded, stats.padding = stats.padded + pad_to[rows], stats.padding + pad_to[rows] - tokens
      end

      local before = ns()
      local meta, err = builder:build(batch)
      stats.build[#stats.build + 1] = ns() - before
      check(meta, "step %d: %s", stats.steps + 1, err)

      local counted = meta.num_prefill_tokens + meta.num_decode_tokens
      check(counted == tokens and meta.num_prefills + meta.num_decodes == rows,
        "step %d: the metadata counts %d tokens, the policy scheduled %d", stats.steps + 1, counted, tokens)
      local emitted, finished = complete(running, rows)
      stats.steps, stats.scheduled = stats.steps + 1, stats.scheduled + tokens
      stats.emitted, stats.finished = stats.emitted + emitted, stats.finished + finished
      stats.prefill_tokens = stats.prefill_tokens + meta.num_prefill_tokens
      stats.decode_tokens = stats.decode_tokens + meta.num_decode_tokens
      stats.rows, stats.tokens = math.max(stats.rows, rows), math.max(stats.tokens, tokens)
      now = now + STEP
      if progress then progress(stats) end
    end
  end
  builder:close()
  stats.virtual, stats.seconds = now, (ns() - start) / 1e9

  local scheduled, emitted = 0, 0
  for _, q in ipairs(requests) do
    scheduled, emitted = scheduled + q.prompt + q.output - 1, emitted + q.output
  end
  check(stats.scheduled == scheduled, "%d tokens scheduled, the workload has %d", stats.scheduled, scheduled)
  check(stats.emitted == emitted, "%d tokens emitted, the workload has %d", stats.emitted, emitted)
  return stats
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
    ("requests         %s finished, %.0f s of virtual time"):format(commas(s.requests), s.virtual),
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

-- A line rewritten ten times a second on a terminal, a line every tenth of the work in a pipe.
local function show_progress()
  local terminal = ffi.C.gdn_replay_isatty(1) == 1
  local due = 0
  return function(s)
    local at = terminal and ns() or s.finished
    if at < due then return end
    due = terminal and at + 1e8 or at + math.ceil(s.requests / 10)
    io.write(terminal and "\r" or "", ("%s of %s requests, %s steps"):format(
      commas(s.finished), commas(s.requests), commas(s.steps)), terminal and "\27[K" or "\n")
    io.flush()
    if terminal and s.finished == s.requests then io.write "\r\27[K" end
  end
end

local function main(path)
  local requests, err = workload.generate(), nil
  if path then requests, err = trace.read(path) end
  check(requests, "%s", err)
  print(report(replay(requests, require "examples.fcfs", show_progress())))
end

if arg and arg[0] and arg[0]:find "replay%.lua$" then
  local ok, err = pcall(main, ...)
  if not ok then
    io.stderr:write("replay: ", tostring(err), "\n")
    os.exit(1)
  end
end
return { replay = replay, report = report }
