-- Plays requests through a real engine for a model in another process: examples/pytorch/check.py, which reads
-- steps from a pipe, or with worker=<Python> the process behind gdn.worker.
--   luajit examples/pytorch/schedule.lua <requests> name=value ...
-- <requests> is a file of lines
--   number arrival max_tokens parent after temperature top_p seed;prompt tokens;answer that is known already
-- A request with a parent is a fork of it, once that has emitted `after` tokens.
local gdn = require "gdnmeta"
local ngram = require "examples.ngram"
local lines = require "examples.pytorch.schedule.lines"
local through_worker = require "examples.pytorch.schedule.through_worker"

local options = { seed = 1, S = 0, groups = 1, mode = "none", block = 16, seqs = 6, tokens = 48, length = 256,
                  kv_blocks = 40, kv_block_size = 16, slots = 0, hash = 0, buckets = 0, check = 1,
                  wrong = 0.3, worker = "", random = "tiny", root = "build/models", device = "cpu",
                  dtype = "float32", kill = 0 }

local function read_options()
  for n = 2, #arg do
    local name, value = arg[n]:match "^([%w_]+)=(.+)$"
    local before = options[name or ""]
    assert(before ~= nil, ("unknown option %s"):format(arg[n]))
    options[name] = type(before) == "number" and assert(tonumber(value)) or value
  end
end

local function numbers(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = tonumber(word) end
  return list
end

local function read_requests(path)
  local requests = {}
  for line in io.lines(path) do
    local head, prompt, answer = line:match "^([^;]*);([^;]*);([^;]*)$"
    local h = numbers(head)
    requests[h[1]] = { number = h[1], arrival = h[2], max_tokens = h[3], parent = h[4], after = h[5],
                       temperature = h[6], top_p = h[7], seed = h[8], tokens = numbers(prompt),
                       answer = numbers(answer), drafts = {}, emitted = 0 }
    requests[h[1]].prompt = #requests[h[1]].tokens
  end
  return requests
end

local function make_engine()
  local o, s = options, options.S
  local align = o.mode == "align"
  -- One column more than a request needs: where a shared state is read.
  local columns = align and math.ceil(o.length / o.block) + s + 1 or s + 2
  local mixed = o.buckets > 0
  local builder = assert(gdn.builder {
    device = "cpu", max_num_seqs = o.seqs, max_num_batched_tokens = o.tokens, num_speculative_tokens = s,
    num_groups = o.groups, mamba_cache_mode = o.mode, mamba_block_size = align and o.block or nil,
    max_blocks_per_row = columns, num_slots = o.slots > 0 and o.slots or 1 + o.seqs * (s + 3) + 12,
    full_cuda_graph = mixed and "mixed" or nil, check = o.check > 0,
  })
  local buckets -- 2: the engine's usual ones
  if o.buckets == 1 then
    buckets = { { rows = o.seqs, tokens = o.seqs * (s + 1) }, { rows = o.seqs, tokens = o.tokens } }
  end
  local engine = assert(gdn.engine {
    builder = builder, policy = "decode_first", max_model_len = o.length, kv_blocks = o.kv_blocks,
    kv_block_size = o.kv_block_size, kv_headroom = 0, mixed_capture_sizes = buckets, seed = o.seed,
    hash_block_size = o.hash > 0 and o.hash or nil,
  })
  return engine, builder
end

-- Drafts of the known answer, some of them wrong, or of the text itself.
local function draft(request, most)
  local known = #request.tokens - request.prompt
  if math.random() < 0.3 or not request.answer[known + 1] then
    local drafter = ngram.new()
    for _, token in ipairs(request.tokens) do drafter:push(token) end
    return drafter:drafts(math.random(0, most))
  end
  local drafts = {}
  for k = 1, math.random(0, most) do
    local right = request.answer[known + k]
    if not right then break end
    drafts[k] = math.random() < options.wrong and math.random(2, 250) or right
  end
  return drafts
end

local function submit(engine, r, now)
  assert(engine:submit { id = r.number, prompt_tokens = r.prompt, max_tokens = r.max_tokens, arrival = now,
                         tokens = options.hash > 0 and r.tokens or nil })
  r.submitted = true
end

-- A list of any length: unpack() gives 8,000 values at the most.
local function copy(list)
  local new = {}
  for n = 1, #list do new[n] = list[n] end
  return new
end

-- Requests whose time has come. A fork waits for its parent, and is a request of its own if that is gone.
local function arrivals(engine, requests, now, forks)
  for number = 1, #requests do
    local r = requests[number]
    local parent = requests[r.parent]
    if not r.submitted and parent then
      if parent.done then
        submit(engine, r, now)
      elseif parent.emitted >= r.after
        and engine:fork(parent.number, { id = number, max_tokens = r.max_tokens }) then
        r.tokens, r.submitted, forks.made = copy(parent.tokens), true, forks.made + 1
        r.drafts, r.emitted = copy(parent.drafts), parent.emitted
      end
    elseif not r.submitted and r.arrival <= now then
      submit(engine, r, now)
    end
  end
end

-- Microseconds that the engine took for steps of decodes alone, its build included, but no text.
local clock = { us = {} }

function clock.run(f, ...)
  local start = os.clock()
  local value, message = f(...)
  clock.spent = (clock.spent or 0) + os.clock() - start
  return assert(value, message)
end

function clock.note(step)
  if step.prefill_tokens == 0 then clock.us[#clock.us + 1] = 1e6 * clock.spent end
  clock.spent = 0
end

-- Of the second half of the steps: by then all of Lua is compiled.
function clock.median()
  local late = {}
  for n = math.floor(#clock.us / 2) + 1, #clock.us do late[#late + 1] = clock.us[n] end
  table.sort(late)
  return late[math.floor(#late / 2) + 1] or 0
end

-- What the other side says that each row emitted, as the engine's results.
local function answer(step, of_row, said)
  for row = 0, step.num_rows - 1 do
    local r = of_row[row]
    r.said = said[row]
    step.accepted_drafts[row] = math.max(#r.said - 1, 0)
    for _, token in ipairs(r.said) do r.tokens[#r.tokens + 1] = token end
    if #r.said > 0 then
      r.drafts = options.S > 0 and draft(r, options.S) or {}
      step.next_drafts[row] = #r.drafts
    end
  end
end

-- The engine may take fewer tokens than were said: an answer ends at its length.
local function finish(step, of_row)
  for row = 0, step.num_rows - 1 do
    local r = of_row[row]
    for _ = step.emitted[row] + 1, #r.said do r.tokens[#r.tokens] = nil end
    r.emitted = r.emitted + step.emitted[row]
    r.done = step.finish[row] > 0
  end
end

local function play(engine, requests, model)
  local now, forks, of_row, preempted, drafted, taken = 0, { made = 0 }, {}, 0, 0, 0
  while true do
    arrivals(engine, requests, now, forks)
    local left = false
    for number = 1, #requests do left = left or not requests[number].done end
    if not left then break end
    local step = clock.run(engine.step, engine, now)
    preempted = preempted + #step.preempted
    assert(step.num_rows > 0 or now < 10000, "nothing runs")
    if step.num_rows > 0 then
      for row = 0, step.num_rows - 1 do of_row[row] = requests[step:id(row)] end
      local said = model:run(step, of_row)
      if said then
        answer(step, of_row, said)
        for row = 0, step.num_rows - 1 do
          drafted, taken = drafted + math.max(step.drafts[row], 0), taken + step.accepted_drafts[row]
        end
        clock.run(engine.complete, engine, step, now)
        clock.note(step)
        finish(step, of_row)
      else -- the worker is another: requests that ran are computed again
        for number = 1, #requests do requests[number].drafts = {} end
      end
    end
    now = now + 1
  end
  model:close(requests)
  local stats = engine.stats
  local counted = { "steps=" .. stats.steps, "preempted=" .. preempted, "hits=" .. stats.hits,
                    "cached=" .. stats.cached_tokens, "forks=" .. forks.made, "drafts=" .. drafted,
                    "accepted=" .. taken, ("engine_us=%d"):format(clock.median()) }
  io.stdout:write("done ", table.concat(counted, " "), "\n")
  assert(engine:slots().used == 0 or options.hash > 0, "slots are left")
end

read_options()
math.randomseed(options.seed)
local requests = read_requests(arg[1])
local engine, builder = make_engine()
io.stdout:write(("hello rows=%d columns=%d\n"):format(builder.max_requests, engine.max_kv_blocks))
io.stdout:flush()
play(engine, requests, (options.worker == "" and lines or through_worker).new(engine, options))
