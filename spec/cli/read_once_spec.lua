-- An input that can be read only once, a pipe, is read once: for all runs, and by one option alone.
local program = require("spec.support.program").new()

local POLICY = "printf 'return { static = true, key = function(r) return r.prompt_tokens end }' |"
local CACHE = "printf 'return { checkpoints = function(r) return { r.prompt_end } end }' |"
local STEPS = "{ echo tokens_padded,prefill_tokens,seqs,ctx_sum,ms; for i in 1 2 3 4 5 6 7 8 9; do "
  .. "echo $i,$((i % 3)),$i,$((i * i)),$((i + 3)); done; } |"
local TRACE = "printf 'arrival_s,prompt_tokens,output_tokens\\n0,50,3\\n1,60,4\\n2,9,2\\n' |"
local SMALL = " --quiet --workload requests=5 "
local TALKS = " --quiet --workload agents,sessions=2 --kv-unlimited "

-- Does it run to the end? 1: not all targets are met.
local function runs(before, arguments)
  local out, err, status = program.run(arguments, before .. " timeout 60")
  assert.is_true(status == 0 or status == 1, err)
  return out
end

local function refused(before, arguments, message)
  local out, err, status = program.run(arguments, before .. " timeout 60")
  assert.are.same({ "", "gdnmeta: " .. message .. "\n", 2 }, { out, err, status })
end

describe("An input that can be read only once", function()
  teardown(program.close)

  it("is a policy, also for several runs and rates", function()
    assert.matches("stdin", runs(POLICY, "simulate --policy /dev/stdin --policy fcfs" .. SMALL))
    runs(POLICY, "simulate --policy /dev/stdin --policy /dev/stdin" .. SMALL)
    runs(POLICY, "sweep --policy /dev/stdin --rates 1 --precision 100" .. SMALL)
    runs(POLICY, "simulate --policy /dev/stdin --cache gdsf --cache-slots 4,8" .. TALKS)
  end)

  it("is a cache, in an engine and by slots alone", function()
    runs(CACHE, "simulate --cache /dev/stdin --cache-slots 4,8" .. TALKS)
    runs(CACHE, "simulate --slots-only --cache /dev/stdin --cache-slots 4,8 --workload agents,sessions=2")
    runs(CACHE, "sweep --cache /dev/stdin --rates 1 --precision 100" .. TALKS)
  end)

  it("is a trace, or measured steps", function()
    runs(TRACE, "simulate --trace /dev/stdin --policy fcfs --policy fair --quiet")
    runs(TRACE, "sweep --trace /dev/stdin --rates 1 --precision 100 --quiet")
    runs(STEPS, "simulate --calibrate /dev/stdin --policy fcfs --policy fair" .. SMALL)
  end)

  it("is refused where two options would read it", function()
    refused(TRACE, "simulate --trace /dev/stdin --policy /dev/stdin",
      "--trace and --policy are both /dev/stdin, which can be read only once")
    refused(CACHE, "simulate --policy /dev/stdin --cache /dev/stdin" .. TALKS,
      "--policy and --cache are both /dev/stdin, which can be read only once")
    refused(STEPS, "simulate --calibrate /dev/stdin --trace /dev/stdin",
      "--trace and --calibrate are both /dev/stdin, which can be read only once")
  end)

  it("is refused where other processes would read it", function()
    local wanted = " = /dev/stdin, want a file that every job can read (or --jobs 1)"
    refused(POLICY, "sweep --policy /dev/stdin --rates 1,2 --jobs 2" .. SMALL, "--policy" .. wanted)
    refused(CACHE, "sweep --cache /dev/stdin --rates 1,2 --jobs 2" .. TALKS, "--cache" .. wanted)
    refused(TRACE, "sweep --trace /dev/stdin --rates 1,2 --jobs 2", "--trace" .. wanted)
    refused(STEPS, "sweep --calibrate /dev/stdin --print-jobs --rates 1" .. SMALL, "--calibrate" .. wanted)
  end)

  it("is no file: that is read by as many options and processes as name it", function()
    local policy = program.write("both.lua", "return {}")
    runs("", ("simulate --policy %s --cache %s --cache-slots 4"):format(policy, policy) .. TALKS)
    runs("", ("sweep --policy %s --rates 1,2 --jobs 2 --precision 100"):format(policy) .. SMALL)
  end)
end)
