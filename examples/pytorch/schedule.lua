-- Plays requests through a real engine for a model in another process (examples/pytorch/check.py): writes
-- each step as a line, reads what its rows emitted.
--   luajit examples/pytorch/schedule.lua <requests> name=value ...
-- <requests> is a file of lines
--   number arrival max_tokens parent after temperature top_p seed;prompt tokens;answer that is known already
-- A request with a parent is a fork of it, once that has emitted `after` tokens.
local gdn = require "gdnmeta"
local ngram = require "examples.ngram"

local options = { seed = 1, S = 0, groups = 1, mode = "none", block = 16, seqs = 6, tokens = 48, length = 256,
                  kv_blocks = 40, kv_block_size = 16, slots = 0, hash = 0, buckets = 0, check = 1,
                  wrong = 0.3 }

local function read_options()
  for n = 2, #arg do
    local name, value = arg[n]:match "^([%w_]+)=([%w_.-]+)$"
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

-- The slots that each row writes and the one that it reads, from what the builder made.
local function slots_of(step, group)
  local meta, columns, spec, plain = step.metadata:group(group), options.S + 1, 0, 0
  local written, read = {}, {}
  for row = 0, step.num_rows - 1 do
    if step.drafts[row] >= 0 then
      local all = meta.spec_state_indices_tensor
      for c = 0, columns - 1 do written[#written + 1] = all[spec * columns + c] end
      read[row + 1], spec = meta.spec_read_state_indices[spec], spec + 1
    else
      written[#written + 1] = meta.non_spec_state_indices_tensor[plain]
      for _ = 2, columns do written[#written + 1] = 0 end
      read[row + 1], plain = meta.non_spec_read_state_indices[plain], plain + 1
    end
  end
  return written, read
end

-- Changes of the kv table that the other side does not have yet.
local function table_changes(engine, step, sent)
  local changes, width = {}, engine.max_kv_blocks
  for row = 0, step.num_rows - 1 do
    local at = step.table_row[row]
    for column = 0, math.ceil(step.seq_len[row] / options.kv_block_size) - 1 do
      local place = at * width + column
      local block = step.kv_table[place]
      if sent[place] ~= block then
        sent[place] = block
        for _, number in ipairs { at, column, block } do changes[#changes + 1] = number end
      end
    end
  end
  return changes
end

local FIELDS = { query_len = "query_len", seq_len = "seq_len", drafts = "drafts", samples = "samples",
                 table_row = "table_row", prompt_done = "prompt_done", accepted_tokens = "last_accepted" }

local function line_of(engine, step, of_row, sent)
  local line, n = {}, step.num_rows
  local function put(name, list) line[#line + 1] = name .. " " .. table.concat(list, " ") end
  for name, field in pairs(FIELDS) do
    local list = {}
    for row = 0, n - 1 do list[row + 1] = step[field][row] end
    put(name, list)
  end
  for _, name in ipairs { "number", "temperature", "top_p", "seed" } do
    local list = {}
    for row = 0, n - 1 do list[row + 1] = of_row[row][name] end
    put(name == "number" and "request" or name, list)
  end
  local tokens, slots, reads, copies = {}, {}, {}, {}
  for row = 0, n - 1 do
    local r = of_row[row]
    for k = step.seq_len[row] - step.query_len[row] + 1, step.seq_len[row] do
      tokens[#tokens + 1] = r.tokens[k] or r.drafts[k - #r.tokens] or 2
    end
  end
  for group = 0, options.groups - 1 do
    local written, read = slots_of(step, group)
    for _, slot in ipairs(written) do slots[#slots + 1] = slot end
    for _, slot in ipairs(read) do reads[#reads + 1] = slot end
  end
  for _, copy in ipairs(step.kv_copies) do
    copies[#copies + 1], copies[#copies + 2] = copy.from, copy.to
  end
  put("tokens", tokens)
  put("slots", slots)
  put("read_slots", reads)
  put("kv_copies", copies)
  put("table_changes", table_changes(engine, step, sent))
  local full = options.buckets > 0 and step.graph == "full"
  put("padded", { step.padded_rows, step.padded_tokens, full and 2 or 0 })
  return table.concat(line, ";")
end

local function submit(engine, r, now)
  assert(engine:submit { id = r.number, prompt_tokens = r.prompt, max_tokens = r.max_tokens, arrival = now,
                         tokens = options.hash > 0 and r.tokens or nil })
  r.submitted = true
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
        r.tokens, r.submitted, forks.made = { unpack(parent.tokens) }, true, forks.made + 1
        r.drafts, r.emitted = { unpack(parent.drafts) }, parent.emitted
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
local function answer(step, of_row, text)
  local counts, tokens = text:match "^([^;]*);(.*)$"
  counts, tokens = numbers(counts), numbers(tokens)
  local at = 0
  for row = 0, step.num_rows - 1 do
    local r, n = of_row[row], counts[row + 1]
    r.said, at = { unpack(tokens, at + 1, at + n) }, at + n
    step.accepted_drafts[row] = math.max(n - 1, 0)
    for _, token in ipairs(r.said) do r.tokens[#r.tokens + 1] = token end
    if n > 0 then
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

local function play(engine, requests)
  local now, sent, forks, of_row, preempted, drafted, taken = 0, {}, { made = 0 }, {}, 0, 0, 0
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
      io.stdout:write("step ", line_of(engine, step, of_row, sent), "\n")
      io.stdout:flush()
      answer(step, of_row, assert(io.read "*l", "the other side has gone"))
      for row = 0, step.num_rows - 1 do
        drafted, taken = drafted + math.max(step.drafts[row], 0), taken + step.accepted_drafts[row]
      end
      clock.run(engine.complete, engine, step, now)
      clock.note(step)
      finish(step, of_row)
    end
    now = now + 1
  end
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
play(engine, requests)
