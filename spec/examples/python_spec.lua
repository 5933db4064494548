-- examples/pytorch/gdnmeta: Python hosts get what Lua hosts get. The cases in Python stand in spec/python.
--   GDN_SEED=N   replays a run      GDN_CASES=N   random batches a rule set
local cjson = require "cjson"
local feed = require "spec.support.submit_paths"
local oracle = require "spec.support.oracle"
local python = require "spec.support.python"
local random = require "spec.support.random_config"
local steps = require "spec.support.random_step"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = math.min(tonumber(os.getenv "GDN_CASES") or 200, 200)
-- Random steps with what the oracle makes of them, as lines of a file of vectors. Returns how many.
local function write_cases(path, rules, seed)
  local rand, file, count = random.rng(seed), assert(io.open(path, "w")), 0
  local config
  for case = 1, CASES do
    if case % 5 == 1 then config = random.config(rand, rules) end
    local inputs, _, rows = steps.draw(rand, rules, config)
    local record, groups = oracle.build(rules, config, inputs)
    if feed.plain(rows) and (record or not inputs.checkpoint_len) then
      local expect = record or { error = groups }
      expect.groups = record and groups
      local given = { capture = false }
      for name, value in pairs(inputs) do given[name] = value end
      file:write(cjson.encode { id = ("seed-%d-case-%d"):format(seed, case), rules = rules, config = config,
                                inputs = given, expect = expect }, "\n")
      count = count + 1
    end
  end
  file:close()
  return count
end

describe("examples/pytorch/gdnmeta #lua", function()
  local function it_runs(name, run)
    it(name, function()
      local interpreter, reason = python.interpreter()
      if not interpreter then return pending(reason) end
      return run()
    end)
  end

  it_runs("gives what the vectors say, from raw arguments and from row arrays", function()
    local text = python.run "spec/python/vectors.py spec/goldens/*.jsonl"
    local passed, as_rows, failed = text:match "(%d+) passed, (%d+) of them as rows too, (%d+) failed\n$"
    assert.are.equal("0", failed, text)
    assert.is_true(tonumber(passed) >= 1717 and tonumber(as_rows) >= 800, text)
  end)

  for i, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
    it_runs("gives what Lua gives on random batches, under " .. rules, function()
      local path = os.tmpname()
      local count = write_cases(path, rules, SEED + i)
      local text = python.run("spec/python/vectors.py " .. path)
      local where = ("GDN_SEED=%d: %s"):format(SEED, text)
      local passed, as_rows, failed = text:match "(%d+) passed, (%d+) of them as rows too, (%d+) failed\n$"
      assert.are.same({ "0", tostring(count) }, { failed, passed }, where)
      assert.is_true(tonumber(as_rows) > count / 10, where)
      os.remove(path)
    end)
  end

  local function suite(file, least, environment)
    local text, code = python.run("spec/python/" .. file, environment)
    assert.are.equal(0, code, text)
    assert.is_true(tonumber(text:match "Ran (%d+) tests") >= least, text)
  end

  it_runs("writes rows at once", function() suite("test_rows.py", 10) end)
  it_runs("has tensors that know their step", function() suite("test_tensors.py", 9) end)
  it_runs("has a page whose Python runs", function() suite("test_docs.py", 2) end)
  it_runs("has buckets, whose shapes are known beforehand", function() suite("test_buckets.py", 4) end)
  it_runs("brings states and windows in pools of any type", function() suite("test_bring.py", 5) end)
  it_runs("has every option by its name", function() suite("test_options.py", 4) end)
  it_runs("refuses what is wrong by name, value and what it wants", function() suite("test_misuse.py", 6) end)
  it_runs("takes tables and arrays on a device where they are", function()
    suite("test_device.py", 6, "GDNMETA_LIBCUDA=$PWD/build/libfakecuda.so")
  end)

  it_runs("is a worker's side of a channel", function() suite("test_worker.py", 7) end)

  it_runs("tells mypy its types", function()
    if not python.has "mypy" then return pending "skipped: no mypy" end
    local text, code = python.run("-m mypy --strict --cache-dir build/mypy examples/pytorch/gdnmeta "
      .. "spec/python/typed.py")
    assert.are.equal(0, code, text)
    assert.matches("^Success", text)
  end)

  it_runs("has a bench that prints a line", function()
    assert.matches("^python%-bench decodes 256 set [%d.]+ build [%d.]+ both [%d.]+ median [%d.]+\n$",
                   (python.run "examples/pytorch/bench.py 2"))
  end)

  it_runs("feeds a layer whose requests are what they are alone", function()
    if not python.has "torch" then
      print "\nno torch: a layer of examples/pytorch/gdnlayer is not run"
      return pending "skipped: no torch"
    end
    local text, code = python.run "examples/pytorch/kernels.py --naive --device cpu --steps 60"
    assert.are.equal(0, code, text)
    for _, name in ipairs { "none, drafts 0", "none, drafts 3", "align, drafts 0", "align, drafts 3" } do
      for _, way in ipairs { "eager", "graphs" } do
        assert.matches(("%s, %s: ok, tokens %%d%%d%%d"):format(name, way), text)
      end
      assert.matches(name .. ", read by tables: ok, %d%d%d tokens, 0 other than", text)
      local moved = text:match(name .. "[^\n]+of states elsewhere tokens %d+ [%w. ]+wrong (%d+)")
      assert.is_true(tonumber(moved) > 20, text)
    end
  end)

  it_runs("runs that layer without a GPU as far as it can, and refuses what it cannot be", function()
    if not python.has "torch" then return pending "skipped: no torch" end
    local text, code = python.run "examples/pytorch/kernels.py --device cpu --steps 5 --mode none"
    assert.are.equal(3, code, text)
    assert.matches("\nkernels: SKIPPED, no GPU, want one\n$", text)
    text = python.run("spec/python/kernel_options.py '--steps 0' '--layers x' '--device cuda:99' "
      .. "'--device gpu' '--seed -1' '--mode all' '--device cpu'")
    local lines = {}
    for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
    for n, wanted in ipairs {
      "--steps: '0', want an integer >= 1", "--layers: 'x', want an integer >= 1",
      "--device: 'cuda:99', want cpu or one of %d+ devices cuda:N",
      "--device: 'gpu', want cpu or one of %d+ devices cuda:N", "--seed: %-1, want an integer >= 0",
      "--mode: invalid choice: 'all'", "^%-%-device cpu 0 taken$",
    } do
      assert.matches(wanted:gsub("^%-%-(%w+):", "argument %%-%%-%1:"), lines[n])
    end
  end)

  it_runs("says which library is not the header's", function()
    local folder = os.tmpname()
    assert(os.remove(folder))
    local copy = "mkdir %s && cp src/gdnmeta_*.h %s"
    assert(os.execute(copy:format(folder, folder)) == 0)
    local header = folder .. "/gdnmeta.h"
    local function import(edit)
      assert(os.execute(("sed '%s' src/gdnmeta.h >%s"):format(edit, header)) == 0)
      return (python.run("-c 'import gdnmeta'", "GDNMETA_HEADER=" .. header))
    end
    assert.matches("ImportError: %S*libgdnmeta.so has ABI %d+, %S+ is of 999\n$",
                   import "s/GDN_ABI = [0-9]*/GDN_ABI = 999/")
    assert.matches("ImportError: %S*libgdnmeta.so has a gdn_config of %d+ bytes, %S+ one of %d+\n$",
                   import "s/^    int32_t poison;/    int32_t poison, more, again;/")
    os.execute("rm -r " .. folder)
  end)
end)
