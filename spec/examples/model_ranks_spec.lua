-- examples/pytorch/worker.py behind gdn.worker: two ranks of torchrun say what one process says, and when one
-- of them is killed, nothing is left of either. Needs PyTorch: see make test-model.
local ffi = require "ffi"
local hosts = require "spec.support.worker_host"
local libc = require "gdnmeta.native.libc"
local process_state = require "spec.support.process_state"
local sh = require "spec.support.shell"

ffi.cdef "int kill(int, int);"
local SIGKILL = 9
local PROMPTS = { "Once upon a time", "a", "a prompt that is cut, being longer than a step", "x = y" }
local SAMPLED = { nil, { 0.9, 0.9, 5 } }
local VOCABULARY, LENGTH, SECONDS = 320, 24, 240

local python = select(2, sh.run "scripts/model python 2>/dev/null"):match "%S+"

local function worker_of(ranks)
  local command = { python, "examples/pytorch/worker.py", "--random", "tiny", "--device", "cpu" }
  if ranks > 1 then
    for n, word in ipairs { "-m", "torch.distributed.run", "--nproc-per-node", tostring(ranks) } do
      table.insert(command, n + 1, word)
    end
  end
  local environment = { OMP_NUM_THREADS = "1", TRANSFORMERS_VERBOSITY = "error" }
  for name, value in pairs(hosts.ENVIRONMENT) do environment[name] = value end
  return { command = command, environment = environment, vocab_size = VOCABULARY, deadline = SECONDS }
end

local function wait_until_ready(host)
  for _ = 1, 100 * SECONDS do
    local ready = host.worker:ready()
    if ready then return end
    local result, message = host.worker:poll()
    assert(not result and not message, message)
    libc.libc_poll(nil, 0, 10)
  end
  error(("the worker is not ready within %d s"):format(SECONDS))
end

local function host_of(ranks)
  local engine = hosts.engine({ full_cuda_graph = "mixed" }, { kv_blocks = 99, kv_block_size = 8 })
  local host = assert(hosts.new(engine, worker_of(ranks)))
  for id, prompt in ipairs(PROMPTS) do host:submit(id, prompt, LENGTH, SAMPLED[id]) end
  wait_until_ready(host)
  return host
end

local function answers(host)
  local said = {}
  for id, record in ipairs(host.records) do said[id] = { unpack(record.tokens, record.prompt + 1) } end
  return said
end

-- Processes with the variable RANK that descend from a worker's, by rank.
local function ranks_of(pid)
  local each = [[for p in $(pgrep -P %d); do tr '\0' '\n' </proc/$p/environ | sed -n "s/^RANK=/$p /p"; done]]
  local list = sh.output(each:format(pid))
  local ranks = {}
  for process, rank in list:gmatch "(%d+) (%d+)" do ranks[tonumber(rank)] = tonumber(process) end
  return ranks
end

local function is_there(pid)
  local state = process_state(pid)
  return state ~= nil and state ~= "Z"
end

describe("A model on two ranks #lua", function()
  it("says what it says on one, and survives the death of one", function()
    if not python then return pending "skipped: no PyTorch, see make test-model" end
    local one = host_of(1)
    assert(one:run())
    local want = answers(one)
    one:close()
    for _, said in ipairs(want) do assert.are.equal(LENGTH, #said) end

    local two, steps = host_of(2), 0
    assert.matches("2 ranks", two.worker.text, 1, true)
    local ranks = ranks_of(two.worker.pid)
    assert.is_true(ranks[0] ~= nil and ranks[1] ~= nil)
    local ok, message, code = two:run(function()
      steps = steps + 1
      if steps == 9 then ffi.C.kill(ranks[1], SIGKILL) end
    end)
    assert.are.same({ nil, "dead" }, { ok, code }, message)
    assert.is_true(#assert(two.worker:restart()) > 0)
    wait_until_ready(two)
    assert(two:run())
    assert.are.same(want, answers(two))
    two:close()
    for _ = 1, 500 do
      if not is_there(ranks[0]) and not is_there(ranks[1]) then break end
      libc.libc_poll(nil, 0, 10)
    end
    assert.is_false(is_there(ranks[0]) or is_there(ranks[1]))
  end)
end)
