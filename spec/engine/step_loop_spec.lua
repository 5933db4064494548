-- The loop that a server runs for every token: fill a batch, build, read the counts.
local gdn = require "gdnmeta"
local growth = require "spec.support.growth"
local traceerr = require "jit.vmdef".traceerr

local ROWS = 32

local function make()
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = ROWS, full_cuda_graph = true,
                                       num_speculative_tokens = 1, max_num_batched_tokens = 1024 })
  for row = 0, ROWS - 1 do builder:set_blocks(0, row, { 2 * row + 1, 2 * row + 2 }) end
  return builder, builder:batch()
end

-- Speculative rows, plain decodes and a prompt, in proportions that change from step to step.
local function run(builder, batch, steps)
  local tokens = 0
  for n = 1, steps do
    batch:clear()
    local rows = n % (ROWS - 1)
    for i = 0, rows - 1 do
      if (i + n) % 3 == 0 then
        batch:push(i, 1, 100 + i, true)
      else
        batch:push(i, 2, 100 + i, true, 1, 2, 1)
      end
    end
    if n % 5 == 0 then
      batch:push(rows, 40, 40, false)
    else
      batch:pad(ROWS, 2 * ROWS)
    end
    local meta = assert(builder:build(batch))
    tokens = tokens + meta.num_spec_decode_tokens + meta.num_decode_tokens + meta.num_prefill_tokens
  end
  return tokens
end

describe("the step loop #jit", function()
  -- First, while nothing here can have been blacklisted. Other aborts are how traces are chosen, and
  -- come and go; NYI means that something never compiles.
  it("compiles, with no NYI", function()
    local builder, batch = make()
    local stops, nyi = 0, {}
    local function on_trace(what, _, _, _, code)
      if what == "stop" then stops = stops + 1 end
      if what == "abort" and traceerr[code]:find("NYI", 1, true) then nyi[#nyi + 1] = traceerr[code] end
    end
    jit.attach(on_trace, "trace")
    run(builder, batch, 2000)
    jit.attach(on_trace)
    builder:close()
    assert.are.same({}, nyi)
    assert.is_true(stops > 0, "nothing was compiled")
  end)

  it("schedules the tokens that it pushed", function()
    local builder, batch = make()
    -- Step 5: rows 0 .. 4; rows with (i + 5) % 3 == 0 are 1 and 4; 2 + 3 * 2 + 40.
    assert.are.equal(run(builder, batch, 5) - run(builder, batch, 4), 48)
    builder:close()
  end)

  -- KB that `steps` steps leave.
  local function grown_over(steps)
    local builder, batch = make()
    run(builder, batch, 2000)
    local grown = growth(function() run(builder, batch, steps) end)
    builder:close()
    return grown
  end

  it("makes no garbage once warm", function()
    local grown = grown_over(20000)
    assert.is_true(grown < 16, ("grew by %.1f KB over 20000 steps"):format(grown))
  end)

  -- What the compiler leaves to the interpreter differs from run to run, so there must be none there either.
  it("makes no garbage in the interpreter", function()
    jit.off()
    local grown = grown_over(2000)
    jit.on()
    assert.is_true(grown < 16, ("grew by %.1f KB over 2000 steps"):format(grown))
  end)

  it("reads tensors without NYI", function()
    local builder, batch = make()
    local nyi = {}
    local function on_trace(what, _, _, _, code)
      if what == "abort" and traceerr[code]:find("NYI", 1, true) then nyi[#nyi + 1] = traceerr[code] end
    end
    run(builder, batch, 30) -- rows 0 .. 29, speculative where row % 3 is not 0, and a prompt
    local meta, sum = assert(builder:build(batch)), 0
    jit.attach(on_trace, "trace")
    for _ = 1, 200 do
      for i = 0, #meta.spec_state_indices_tensor - 1 do sum = sum + meta.spec_state_indices_tensor[i] end
    end
    jit.attach(on_trace)
    builder:close()
    assert.are.same({}, nyi)
    assert.are.equal(200 * 1260, sum) -- slots 2 * row + 1 and 2 * row + 2
  end)
end)
