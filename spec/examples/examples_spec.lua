-- Examples print what they are said to print, so that they cannot rot.
local ffi = require "ffi"
local python = require "spec.support.python"
local sim = require("gdnmeta").sim

-- As a shell starts it, less the checker that may watch this process.
local function output(command)
  local pipe = assert(io.popen("env -u LD_PRELOAD -u GDNMETA_LIB "
    .. "LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' LUA_CPATH='./build/?.so;;' "
    .. "luajit " .. command .. " 2>&1"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("examples/ #lua", function()
  it("tenants.lua shows what fairness does for the small one", function()
    assert.are.equal("fcfs  bob has all answers after 11.05 s, acme after 10.05 s\n"
      .. "fair  bob has all answers after  2.05 s, acme after 11.05 s\n", output "examples/tenants.lua")
  end)

  it("tiny_model.lua says in a batch what it says alone", function()
    local text = output "examples/tiny_model.lua"
    assert.matches("^St%)y,\\,y&F&udDDEE7H3'14;%?C4%?>G%?%?lAK%?%?1%?c\tas alone\n", text)
    assert.matches("\n160 tokens in 77 steps\n$", text)
    assert.are.equal(4, select(2, text:gsub("\tas alone\n", "")))
  end)

  it("trace.lua replays a trace", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    for second = 10, 39 do file:write(("2023-11-16 18:15:%d.5,4000,100\n"):format(second)) end
    file:close()
    local text = output("examples/trace.lua " .. path .. " 2")
    os.remove(path)
    assert.are.equal(
      "fcfs          first token p50 290 ms, p99 295 ms; longest gap 283 ms; 30 of 30 in time\n"
      .. "decode_first  first token p50 308 ms, p99 314 ms; longest gap 39 ms; 30 of 30 in time\n"
      .. "30 of 30 first tokens come later under decode_first, 20 ms in the median\n", text)
  end)

  it("pytorch/schedule.lua forks a request of 9000 tokens, more than unpack() gives", function()
    local requests, answers = os.tmpname(), os.tmpname()
    local file = assert(io.open(requests, "wb"))
    file:write("1 0 6 0 0 0 1 1;", ("7 "):rep(9000), ";\n2 0 6 1 2 0 1 1;;\n")
    file:close()
    file = assert(io.open(answers, "wb")) -- a chunk has 512 tokens; then both say one token a step
    file:write(("0;\n"):rep(math.floor(9000 / 512)), ("1 1;5 6\n"):rep(8))
    file:close()
    local text = output(("examples/pytorch/schedule.lua %s tokens=16384 length=10000 kv_blocks=1500 <%s")
      :format(requests, answers))
    os.remove(requests)
    os.remove(answers)
    assert.matches("\ndone .* forks=1 ", text:sub(-2000))
  end)
end)

local function shell(command)
  local pipe = assert(io.popen(("(unset LD_PRELOAD GDNMETA_LIB; %s) 2>&1")
    :format(command)))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("examples/embed.c", function()
  it("compiles from the header alone, and prints what its tensors hold", function()
    local program = os.tmpname()
    assert.are.equal("", shell("cc -std=c11 -Wall -Wextra -Wpedantic -Werror examples/embed.c -Isrc "
      .. "-Lbuild -lgdnmeta -Wl,-rpath,$PWD/build -o " .. program))
    assert.are.equal("decodes 1, prefills 1\n"
      .. "query_start_loc 0 1 131\n"
      .. "chunk_indices 0 0 0 1 0 2\n"
      .. "refused: rows[0].seq_len = 4, want >= query_len = 9\n"
      .. "handed on: int32 [2] 7 3\n", shell(program))
    os.remove(program)
  end)
end)

-- GDN_PYTHON names an interpreter, say that of a virtual environment with torch.
describe("examples/pytorch/", function()
  it("takes steps into PyTorch", function()
    if not python.has "torch" then return pending "skipped: no Python with numpy and torch" end
    local step = "  non_spec_state_indices_tensor torch.int32 [7, 3]\n"
      .. "  non_spec_query_start_loc torch.int32 [0, 1, 131]\n"
      .. "  has_initial_state torch.bool [True, False]\n"
      .. "  chunk_offsets torch.int64 [0, 3]\n"
      .. "  a step later [7, 5]\n"
    local want = "cpu: 1 decode, 1 prefill\n" .. step
    if python.has "torch; assert torch.cuda.is_available()" then
      want = want .. "cuda: 1 decode, 1 prefill\n" .. step
    end
    assert.are.equal(want, (python.run "examples/pytorch/step.py"))
  end)

  it("reads the headers as the compiler does", function()
    require "gdnmeta.worker.native" -- which declares those of gdnmeta_worker.h
    if not python.interpreter() then return pending "skipped: no Python with numpy" end
    local lines = python.run "-m gdnmeta"
    local seen = 0
    for name, size, members in lines:gmatch "(gdn_%w+) (%d+)([^\n]*)" do
      assert.are.equal(ffi.sizeof(name), tonumber(size), name)
      for member, offset in members:gmatch "([%w_]+)=(%d+)" do
        assert.are.equal(ffi.offsetof(name, member), tonumber(offset), name .. "." .. member)
        seen = seen + 1
      end
    end
    assert.is_true(seen > 100, lines)
  end)
end)

describe("examples/policies/ #lua", function()
  local function run(policy, opts)
    local o = { policy = policy, measure = false, workload = { requests = 300 }, rate = 5.5 }
    for name, value in pairs(opts or {}) do o[name] = value end
    return assert(sim.run(o))
  end
  local function mine(name, opts)
    local r = run("examples/policies/" .. name .. ".lua", opts)
    assert.are.same({ 0, 300 }, { r.fallbacks, r.finished + r.rejected }, r.failure and r.failure.message)
    return r
  end

  it("first.lua keeps the gaps short that fcfs makes long", function()
    assert.is_true(mine("first").itl.max < 0.2 * run("fcfs").itl.max)
  end)

  it("first.lua wins where the README says: first tokens, gaps, targets, and no longer waits", function()
    local demo = { rate = 9, workload = { requests = 2000 } }
    local first, fcfs = run("examples/policies/first.lua", demo), run("fcfs", demo)
    assert.is_true(first.ttft.p50 < 0.1 * fcfs.ttft.p50 and first.itl.p99 < 0.2 * fcfs.itl.p99)
    assert.is_true(first.attainment > 0.9 and fcfs.attainment < 0.5,
                   ("%g, %g"):format(first.attainment, fcfs.attainment))
    assert.is_true(first.longest_wait_ms < fcfs.longest_wait_ms)
  end)

  it("pad_aware.lua never leaves the captured graphs, and pads less than decode_first", function()
    local r, other = mine("pad_aware"), run "decode_first"
    assert.are.equal(0, r.padding.kinds.eager.steps)
    assert.is_true(other.padding.kinds.eager.steps > 0)
    assert.is_true(r.batch.most_tokens <= 512)
  end)

  it("drafts_by_batch.lua drafts less the more requests run", function()
    local speculative = { num_speculative_tokens = 3 }
    local quiet, busy = mine("drafts_by_batch", { num_speculative_tokens = 3, rate = 1 }),
      mine("drafts_by_batch", { num_speculative_tokens = 3, rate = 12 })
    assert.are.equal(3, run("fcfs", speculative).speculation.drafts)
    assert.is_true(quiet.speculation.drafts > 2.9 and busy.speculation.drafts < 2)
  end)

  it("shortest_job.lua halves a token's time where lengths are known, and does less where not", function()
    local function time_per_token(policy, known)
      local r = run(policy, { rate = 14, known_lengths = known,
                              workload = { requests = 600, output_sigma = 1.2 } })
      assert.are.equal(0, r.fallbacks)
      return r.normalised.mean
    end
    local path = "examples/policies/shortest_job.lua"
    local known, unknown, fcfs = time_per_token(path, true), time_per_token(path, false),
      time_per_token("fcfs", true)
    assert.is_true(fcfs > 2 * known and unknown > 1.2 * known, ("%g, %g, %g"):format(fcfs, known, unknown))
  end)

  it("shed.lua serves more in time by turning some away, under overload", function()
    local shed, fcfs = mine("shed", { rate = 12 }), run("fcfs", { rate = 12 })
    assert.is_true(shed.rejected > 0 and shed.goodput > 1.5 * fcfs.goodput)
  end)
end)
