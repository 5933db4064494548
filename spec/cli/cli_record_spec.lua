-- gdnmeta inspect and gdnmeta replay, as a shell starts them.
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local programs = require "spec.support.program"

describe("gdnmeta #lua", function()
  local program, gdnmeta, write, path, text
  setup(function()
    program = programs.new()
    gdnmeta, write = program.run, program.write
    path = program.folder .. "/steps.jsonl"
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64,
      num_groups = 2, num_speculative_tokens = 1, full_cuda_graph = true, max_cudagraph_capture_size = 8 })
    local engine = assert(gdn.engine { builder = builder, policy = "fcfs", max_model_len = 200 })
    local recording = assert(engine:record(path))
    for now = 1, 5 do
      if now < 4 then engine:submit { id = now, prompt_tokens = 10, max_tokens = 20 } end
      engine:complete(assert(engine:step(now)), now)
    end
    recording:close()
    engine:close()
    builder:close()
    text = program.read "steps.jsonl"
  end)
  teardown(function() program.close() end)

  -- Line `number` with what `pattern` finds replaced.
  local function edited(number, pattern, replacement)
    local n = 0
    return write("edited.jsonl", (text:gsub("[^\n]*\n", function(line)
      n = n + 1
      if n ~= number then return nil end
      local changed, times = line:gsub(pattern, replacement, 1)
      assert.are.equal(1, times)
      return changed
    end)))
  end

  it("inspect draws a line a step", function()
    local out, err, status = gdnmeta("inspect " .. path)
    assert.are.same({ "", 0 }, { err, status })
    assert.are.equal(([[
recorded by gdnmeta %s on cpu under strict, policy fcfs
builder   4 sequences, 64 tokens and 8 rows per step, 2 cache groups, mode none, 1 speculative token
engine    4 sequences, 64 tokens per step, sequences of up to 200 tokens
    step           s   rows  padded   tokens  padded  graph
       1       1.000      1       1       10      10  eager     |pppppppppppppppppppppppppppppppp|
       2       2.000      2       2       12      12  eager     |ssssspppppppppppppppppppppppppp|
]]):format(gdn._VERSION):match "^(.-1%.000.-)\n       2", out:match "^(.-)\n       2")
    assert.matches("\n       5       5.000      3       4        6       8  full      |s+%.+|\n$", out)
    assert.are.equal(4 + 5, select(2, out:gsub("\n", "")))
  end)

  it("inspect draws a step in full", function()
    local out, err, status = gdnmeta("inspect " .. path .. " --step 5")
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("^step 5 of " .. path:gsub("%p", "%%%0") .. ", at 5%.000 s, graph full\n", out)
    assert.matches("\ngdnmeta.Batch: 3 of 8 rows, 6 tokens\n", out, 1, true)
    assert.matches("\n.      padded to 4 rows and 8 tokens\n", out, 1, true)
    assert.matches("\n        0  spec decode       2  0 .. 1          %d      %d %d\n", out)
    assert.matches("\n        3  padding           2  6 .. 7\n", out, 1, true)
    assert.matches("\n  spec_query_start_loc           int32[5] {0, 2, 4, 6, 6}\n", out, 1, true)
    assert.matches("\ngroup 1:\n", out, 1, true)
  end)

  it("replay builds every step to the same", function()
    local out, err, status = gdnmeta("replay " .. path)
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("^5 steps built under strict on cpu, recorded under strict on cpu: "
      .. "%d+ values compared, all alike, 0 refused\n$", out)
  end)

  it("replay builds the steps of buckets, and those of idle ranks are not among them", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64,
                                         num_speculative_tokens = 1, full_cuda_graph = "mixed" })
    local engine = assert(gdn.engine { builder = builder, max_model_len = 200 })
    local recording = assert(engine:record(program.folder .. "/buckets.jsonl"))
    for now = 1, 5 do
      if now < 4 then engine:submit { id = now, prompt_tokens = 10, max_tokens = 20 } end
      engine:complete(assert(engine:step(now)), now)
      assert(engine:idle_step(4, 8))
    end
    assert(recording:close())
    engine:close()
    local out, err, status = gdnmeta("replay " .. program.folder .. "/buckets.jsonl")
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("^5 steps built under strict on cpu, .* all alike, 0 refused\n$", out)
  end)

  it("replay builds them on a GPU as well", function()
    local fake = "GDNMETA_LIBCUDA=" .. drivers.fake
    local out, err, status = gdnmeta("replay " .. path .. " --device cuda", fake)
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("^5 steps built under strict on cuda:0, .*, all alike, 0 refused\n$", out)
  end)

  it("replay says which step, line and tensor came out otherwise, and exits with 1", function()
    local out, err, status = gdnmeta("replay " .. edited(4, '"counts":%[%d+', '"counts":[7'))
    assert.are.same({ "", 1 }, { err, status })
    assert.matches("^step 3 %(line 4%): other than recorded: num_prefills\n5 steps .*, 1 step with "
      .. "other values, 0 refused\n$", out)
  end)

  it("replay says which step is refused, and exits with 1", function()
    local out, err, status = gdnmeta("replay " .. edited(3, '"seq_len":%[%d+', '"seq_len":[1'))
    assert.are.same({ "", 1 }, { err, status })
    assert.are.equal("step 2 (line 3): refused: rows[0].seq_len = 1, want >= query_len = 2",
                     out:match "[^\n]*")
    assert.matches(", all alike, 1 refused\n$", out)
  end)

  it("replay exits with 1 where the file is truncated before the first step", function()
    local header = write("header.jsonl", text:match "^[^\n]*\n")
    local out, err, status = gdnmeta("replay " .. header)
    assert.are.equal(1, status)
    assert.matches(": 0 values compared, nothing to compare, 0 refused\n$", out)
    assert.matches("no end line after line 1", err, 1, true)
  end)

  it("replay says what differs under other rules, and exits with 0", function()
    local out, err, status = gdnmeta("replay " .. path .. " --rules vllm-2026-04")
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("^steps +other value +only recorded +only built\n", out)
    assert.matches("\nspec_read_state_indices +0 +4 +0\n", out)
    assert.matches("\n5 steps built under vllm%-2026%-04 on cpu, recorded under strict on cpu: "
      .. "%d+ values compared, 5 steps with other values, 0 refused\n$", out)
  end)

  it("both read a file that was cut up to its last whole line", function()
    local cut = write("cut.jsonl", text:sub(1, -60))
    local missing = ("^gdnmeta: %s: truncated in line 6 after %%d+ bytes\n$")
      :format((cut:gsub("%p", "%%%0")))
    local out, err, status = gdnmeta("replay " .. cut)
    assert.matches(missing, err)
    assert.are.equal(0, status)
    assert.matches("^4 steps built ", out)
    out, err, status = gdnmeta("inspect " .. cut)
    assert.matches(missing, err)
    assert.are.equal(0, status)
    assert.are.equal(4 + 4, select(2, out:gsub("\n", "")))
  end)

  it("both refuse a corrupt file, after the steps before the fault", function()
    local bad = edited(3, '"graph":"%a+"', '"graph":"\\u001b[2J"')
    local why = ([[gdnmeta: %s:3: graph = "\27[2J", want "eager", "piecewise" or "full"]]):format(bad) .. "\n"
    local out, err, status = gdnmeta("replay " .. bad)
    assert.are.same({ why, 2 }, { err, status })
    assert.matches("^1 step built ", out)
    out, err, status = gdnmeta("inspect " .. bad)
    assert.are.same({ why, 2 }, { err, status })
    assert.are.equal(4 + 1, select(2, out:gsub("\n", "")))
  end)

  it("refuses a header that asks for more memory than it may", function()
    local large = edited(1, '"max_num_batched_tokens":64', '"max_num_batched_tokens":2000000000')
    local _, err, status = gdnmeta("replay " .. large)
    local why = "gdnmeta: %s:1: builder: needs up to 38147 MiB of memory, want at most 1024\n"
    assert.are.same({ why:format(large), 2 }, { err, status })
    _, err = gdnmeta("inspect " .. large .. " --memory 38000")
    assert.matches("want at most 38000\n$", err)
  end)

  local wrong = {
    { "replay nowhere.jsonl", "nowhere.jsonl: No such file or directory" },
    { "replay Makefile", "Makefile:1: Expected value but found invalid token at character 1; want a "
      .. "recording, which engine:record writes" },
    { "replay %s --device tpu", '--device = "tpu", want "auto", "cpu", "cuda" or "cuda:N"' },
    { "replay %s --rules loose",
      '--rules = "loose", want "strict", "vllm-2026-04", "vllm-2026-08" or "vllm-2026-11"' },
    { "replay %s --memory much", '--memory = "much", want MiB in 1 .. 1048576' },
    { "inspect %s --step x", '--step = "x", want an integer in 1 .. 2147483647' },
    { "inspect %s --step -1", '--step = "-1", want an integer in 1 .. 2147483647' },
    { "inspect %s --step 9", "%s has no step 9" },
  }
  for _, case in ipairs(wrong) do
    it("says what is wrong with `" .. case[1] .. "`, and exits with 2", function()
      local err = "gdnmeta: " .. case[2]:gsub("%%s", path) .. "\n"
      assert.are.same({ "", err, 2 }, { gdnmeta((case[1]:gsub("%%s", path))) })
    end)
  end
end)
