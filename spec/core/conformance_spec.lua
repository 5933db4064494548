-- The vectors through the public API, and the runner that compares them.
local cjson = require "cjson"
local vectors = require "spec.support.vectors"

local FILES = { "vllm-2026-04", "edge-vllm-2026-04", "vllm-2026-08", "edge-vllm-2026-08", "vllm-2026-11",
                "reorder" }
local CASES = { 400, 132, 400, 132, 553, 100 }

local function path_of(name) return ("spec/goldens/%s.jsonl"):format(name) end

describe("The vectors", function()
  for i, name in ipairs(FILES) do
    it("hold through the public API: " .. name, function()
      local runner, failures, count = vectors.runner "cpu", {}, 0
      for case in vectors.cases(path_of(name)) do
        count = count + 1
        local reason = runner:run(case)
        if reason then failures[#failures + 1] = case.id .. ": " .. reason end
      end
      runner:close()
      assert.are.same({}, failures)
      assert.are.equal(CASES[i], count)
    end)
  end
end)

-- A legal mixed step with every kind of field in it.
local CASE = [==[{"id": "mixed", "rules": "vllm-2026-08",
  "config": {"num_speculative_tokens": 1, "max_num_seqs": 4, "max_cudagraph_capture_size": null},
  "inputs": {"query_start_loc": [0, 2, 5], "seq_lens": [9, 3], "block_table": [[7, 8], [9, 4]],
    "block_table_cols": 2, "num_reqs": 2, "num_actual_tokens": 5, "max_query_len": 3,
    "num_accepted_tokens": [1, 1], "num_decode_draft_tokens": [1, -1], "capture": false},
  "expect": {"num_prefills": 1, "spec_query_start_loc": {"dtype": "int32", "shape": [2], "data": [0, 2]},
    "spec_state_indices_tensor": {"dtype": "int32", "shape": [1, 2], "data": [[7, 8]]},
    "has_initial_state": {"dtype": "bool", "shape": [1], "data": [false]},
    "batch_ptr": {"dtype": "int32", "shape": [2048], "data": [0], "fill": -1},
    "spec_read_state_indices": null,
    "nums_dict": {"8": {"nums": {"dtype": "int32", "shape": [1], "data": [1]}, "tot": 1,
      "batch_ptr": "same object as batch_ptr"}},
    "builder": {"decode_cudagraph_max_bs": 8, "num_spec": 1}}}]==]

-- What a change to a case makes of its verdict.
local function verdict(change)
  local case = cjson.decode(CASE)
  change(case.expect, case)
  local runner = vectors.runner "cpu"
  local reason = runner:run(case)
  runner:close()
  return reason
end

describe("The runner", function()
  it("passes a case that holds", function()
    assert.is_nil(verdict(function() end))
  end)

  it("reports a value, with its place", function()
    assert.are.equal("spec_query_start_loc[1]: want 3, got 2",
      verdict(function(expect) expect.spec_query_start_loc.data[2] = 3 end))
    assert.are.equal("spec_state_indices_tensor[0][1]: want 9, got 8",
      verdict(function(expect) expect.spec_state_indices_tensor.data[1][2] = 9 end))
    assert.are.equal("has_initial_state[0]: want true, got false",
      verdict(function(expect) expect.has_initial_state.data[1] = true end))
    assert.are.equal("num_prefills: want 2, got 1", verdict(function(expect) expect.num_prefills = 2 end))
  end)

  it("reports an element that only `fill` names", function()
    assert.are.equal("batch_ptr[1]: want 0, got -1", verdict(function(expect) expect.batch_ptr.fill = 0 end))
    assert.are.equal("batch_ptr[1]: want null, got -1",
      verdict(function(expect) expect.batch_ptr.fill = nil end))
  end)

  it("reports dtype, shape, and presence where null was wanted or the other way round", function()
    assert.are.equal("has_initial_state: want dtype int32, got bool",
      verdict(function(expect) expect.has_initial_state.dtype = "int32" end))
    assert.are.equal("spec_state_indices_tensor: want shape [2, 1], got [1, 2]",
      verdict(function(expect) expect.spec_state_indices_tensor.shape = { 2, 1 } end))
    assert.are.equal("has_initial_state: want null, got a tensor",
      verdict(function(expect) expect.has_initial_state = cjson.null end))
    assert.are.equal("spec_conv_shift: want a tensor, got null",
      verdict(function(expect) expect.spec_conv_shift = { dtype = "int32", shape = { 0 }, data = {} } end))
    assert.are.equal("nums_dict: want null, got a record",
      verdict(function(expect) expect.nums_dict = cjson.null end))
  end)

  it("looks into nums_dict, and at what is the same memory", function()
    assert.are.equal("nums_dict[8].tot: want 2, got 1",
      verdict(function(expect) expect.nums_dict["8"].tot = 2 end))
    assert.are.equal("nums_dict[8].nums[0]: want 4, got 1",
      verdict(function(expect) expect.nums_dict["8"].nums.data[1] = 4 end))
    assert.are.equal("nums_dict[8].batch_ptr: not the same memory as token_chunk_offset_ptr",
      verdict(function(expect) expect.nums_dict["8"].batch_ptr = "same object as token_chunk_offset_ptr" end))
    assert.are.equal("nums_dict: no key 16",
      verdict(function(expect) expect.nums_dict["16"] = expect.nums_dict["8"] end))
  end)

  it("looks at the builder's fields", function()
    assert.are.equal("builder.num_spec: want 2, got 1",
      verdict(function(expect) expect.builder.num_spec = 2 end))
  end)

  it("tells a step that was built from one that was refused", function()
    assert.are.equal("built, want it refused: no", verdict(function(expect) expect.error = "no" end))
    assert.matches("^refused: .", verdict(function(_, case) case.inputs.num_accepted_tokens = { 1 } end))
  end)

  it("takes a refused configuration for a refusal, but no missing device", function()
    local runner, case = vectors.runner "cpu", cjson.decode(CASE)
    case.rules, case.config.mamba_cache_mode, case.config.num_speculative_blocks = "strict", "align", 0
    assert.matches("^refused: num_speculative_blocks", runner:run(case))
    case.expect.error = "narrow"
    assert.is_nil(runner:run(case))
    runner:close()
    case.config.num_speculative_blocks = 1
    runner = vectors.runner "cuda:999"
    assert.matches("^no builder: ", runner:run(case))
    runner:close()
  end)

  it("reports the order and the swaps of a reordering", function()
    local case = { decode_threshold = 1, num_scheduled = { 6, 1 }, num_computed = { 0, 8 },
      num_prompt = { 6, 4 }, expect = { modified = true, order = { 1, 0 }, swaps = { { 1, 0 } } } }
    local runner = vectors.runner "cpu"
    assert.is_nil(runner:run(case))
    case.expect.swaps[1] = { 0, 1 }
    assert.are.equal("swaps[0][0]: want 0, got 1", runner:run(case))
    case.expect.order = { 1, 0, 2 }
    assert.are.equal("order[2]: want 2, got nil", runner:run(case))
    case.expect.modified = false
    assert.are.equal("modified: want false, got true", runner:run(case))
  end)
end)

describe("spec/conformance.lua", function()
  -- Exit code and output of a run of the program from the root, unless `before` goes elsewhere.
  local function run(arguments, before)
    local command = ("%s luajit %s 2>&1; echo $?"):format(before or "", arguments)
    local pipe = assert(io.popen(command))
    local text = pipe:read "*a"
    pipe:close()
    return tonumber(text:match "(%d+)%s*$"), text
  end

  local function file_of(text)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(text, "\n")
    file:close()
    return path
  end

  local good = CASE:gsub("%s*\n%s*", " ")
  local bad = good:gsub('"num_prefills": 1', '"num_prefills": 5'):gsub('"mixed"', '"wrong"')

  it("counts, names what failed, and exits with 1", function()
    local path = file_of(good .. "\n" .. bad)
    local code, text = run("spec/conformance.lua " .. path)
    assert.are.equal(1, code)
    assert.matches("wrong: num_prefills: want 5, got 1\n1 passed, 1 failed\n", text, 1, true)
    code, text = run("spec/conformance.lua --only mixed " .. path)
    assert.are.equal(0, code)
    assert.are.equal("1 passed, 0 failed\n0\n", text)
    os.remove(path)
  end)

  it("runs from another folder, by paths of its own or by those of the environment #system", function()
    local path = file_of(good)
    local own = "cd src && env -u GDNMETA_LIB -u LUA_PATH -u LUA_CPATH"
    local given = "root=$PWD; cd src && env -u GDNMETA_LIB"
      .. [[ LUA_PATH="$root/lua/?.lua;$root/lua/?/init.lua;;" LUA_CPATH="$root/build/?.so;;"]]
    for _, before in ipairs { own, given } do
      local code, text = run("../spec/conformance.lua " .. path, before)
      assert.are.equal("1 passed, 0 failed\n0\n", text)
      assert.are.equal(0, code)
    end
    os.remove(path)
  end)

  it("exits with 2 when it cannot run", function()
    assert.are.equal(2, (run "spec/conformance.lua"))
    assert.are.equal(2, (run "spec/conformance.lua --nonsense x.jsonl"))
    assert.are.equal(2, (run "spec/conformance.lua --device tpu spec/goldens/reorder.jsonl"))
    assert.are.equal(2, (run "spec/conformance.lua no/such/file.jsonl"))
    assert.are.equal(2, (run "spec/conformance.lua spec"))
    assert.are.equal(2, (run "spec/conformance.lua --only nobody spec/goldens/reorder.jsonl"))
    local path = file_of "{ this is no JSON"
    local code, text = run("spec/conformance.lua " .. path)
    assert.are.equal(2, code)
    assert.matches(path .. ":1: not a case", text, 1, true)
    os.remove(path)
  end)
end)
