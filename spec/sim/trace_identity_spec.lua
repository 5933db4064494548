-- Identity of a trace's prompts: ids of blocks, whether a trace chains them or not, for any size of blocks.
local gdn = require "gdnmeta"
local identity = require "gdnmeta.sim.trace.identity"
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local function line(i, prompt, ids)
  local form = '{"timestamp": %d, "input_length": %d, "output_length": 1, "hash_ids": [%s]}'
  return form:format(i, prompt, ids)
end

local function read(lines)
  local requests, message = trace.parse(table.concat(lines, "\n"), "t", { time_unit = "s" })
  assert.is_truthy(requests, message)
  return requests
end

describe("Identity of prompts #lua", function()
  it("is the same for equal beginnings alone, with ids that stand for a block by itself", function()
    local requests = read { line(1, 1536, "7, 7, 7"), line(2, 1536, "7, 8, 7"), line(3, 1536, "7, 7, 9"),
                            line(4, 1024, "8, 7"), line(5, 1024, '"7", 7') }
    local paths = {}
    for i, r in ipairs(requests) do paths[i] = table.concat(r.blocks, " ") end
    assert.are.same({ "1 2 3", "1 4 5", "1 2 6", "7 8", "9 10" }, paths)
    assert.are.equal(512, requests.block_size)
  end)

  it("believes eight prompts that blocks have another size than the format's, and no seven", function()
    for n, size in pairs { [7] = 512, [8] = 64 } do
      local requests = {}
      for i = 1, n do requests[i] = { prompt = 64 * i, hashes = {} } end
      for i, r in ipairs(requests) do
        for k = 1, i do r.hashes[k] = k end
      end
      identity.chain(requests, "mooncake")
      assert.are.equal(size, requests.block_size)
    end
  end)

  it("holds for random traces: two paths agree exactly as far as their ids do", function()
    for seed = 1, 20 do
      local random, requests, ids = workload.random(seed), {}, {}
      for i = 1, 40 do
        local list = {}
        for k = 1, math.floor(random() * 8) do list[k] = math.floor(random() * 3) end
        ids[i], requests[i] = list, { prompt = #list * 512 + 1, hashes = { unpack(list) } }
      end
      identity.chain(requests, "mooncake")
      for a = 1, 40 do
        for b = 1, 40 do
          local equal = true
          for k = 1, math.min(#ids[a], #ids[b]) do
            equal = equal and ids[a][k] == ids[b][k]
            assert.are.equal(equal, requests[a].blocks[k] == requests[b].blocks[k], "seed " .. seed)
          end
        end
      end
    end
  end)

  it("has blocks of the size that the ids fit, else the format's", function()
    for _, size in ipairs { 1, 16, 64, 512, 4096 } do
      local lines = {}
      for i = 1, 8 do
        local prompt = size * i + math.floor(size / 3)
        local ids = {}
        for k = 1, math.ceil(prompt / size) do ids[k] = k end
        lines[i] = line(i, prompt, table.concat(ids, ","))
      end
      local requests = read(lines)
      assert.are.equal(size, requests.block_size)
      assert.is_nil(requests.misfit)
      assert.are.equal(6, #requests[6].blocks)
    end
  end)

  it("has blocks of the size that is given, whatever the ids fit, and says where they do not", function()
    local lines = {}
    for i = 1, 12 do lines[i] = line(i, 1024, "1,2,3,4") end -- they fit 256
    local text = table.concat(lines, "\n")
    local function of(size) return trace.parse(text, "t", { time_unit = "s", block_size = size }) end
    local function facts(requests)
      return { requests.block_size, #requests[1].blocks, requests.misfit and requests.misfit.n }
    end
    assert.are.same({ 256, 4 }, facts(of(nil)))
    assert.are.same({ 300, 3 }, facts(of(300)))
    assert.are.same({ 512, 2, 12 }, facts(of(512)))
    assert.are.equal("4 ids for a prompt of 1024 tokens, want 2 of 512 tokens each", of(512).misfit.text)
    assert.are.same({ 2^20, 0, 12 }, facts(of(2^20)))
    local run, message = gdn.sim.run { requests = of(512), cache = true, measure = false }
    assert.is_nil(run)
    assert.matches("want 2 of 512 tokens each; so in 12 of 12 prompts", message, 1, true)
    assert.are.same({ nil, "t: block_size = 16, want none: there are no hash_ids" }, { trace.parse(
      '{"timestamp": 3, "input_length": 9, "output_length": 1}', "t", { time_unit = "s", block_size = 16 }) })
  end)

  it("takes no more ids than the prompt has full blocks, and says where they do not fit", function()
    local lines = {}
    for i = 1, 9 do lines[i] = line(i, 1024, "1,2") end
    lines[10], lines[11] = line(10, 1024, "1,2,3,4"), line(11, 1024, "")
    local requests = read(lines)
    assert.are.same({ 1, 2 }, requests[10].blocks)
    assert.are.same({}, requests[11].blocks)
    assert.are.same({ 2, 10 }, { requests.misfit.n, requests.misfit.line })
    assert.are.equal("4 ids for a prompt of 1024 tokens, want 2 of 512 tokens each", requests.misfit.text)
    assert.is_nil(requests.repeats)
  end)

  it("finds blocks of any size that fits, a round one first, and of no size that hardly does", function()
    for _, size in ipairs { 1000, 48, 544, 7 } do
      local lines = {}
      for i = 1, 40 do
        local prompt, ids = size * 3 * i + size - 1, {}
        for k = 1, math.ceil(prompt / size) do ids[k] = k end
        lines[i] = line(i, prompt, table.concat(ids, ","))
      end
      local requests = read(lines)
      assert.is_nil(requests.misfit)
      assert.is_true(math.abs(requests.block_size - size) <= size / 30, requests.block_size)
      if size == 1000 then assert.are.equal(1000, requests.block_size) end
    end
    local lines = {}
    for i = 1, 12 do
      local ids = {}
      for k = 1, 2 * i + 3 do ids[k] = k end -- three too many
      lines[i] = line(i, 1024 * i, table.concat(ids, ","))
    end
    local requests = read(lines)
    assert.are.same({ 512, 12, 1 }, { requests.block_size, requests.misfit.n, requests.misfit.line })
  end)

  it("is none that a cache is tried with where most ids do not fit, and the line is named", function()
    local function cached(lines)
      local run, message = gdn.sim.run { requests = read(lines), cache = true, measure = false }
      return run or message
    end
    local good = line(1, 1024, "1, 2")
    assert.are.equal("cache: t:2: hash_ids: 5 ids for a prompt of 1024 tokens, want 2 of 512 tokens each "
      .. "(a guess); so in 2 of 3 prompts; trace_block_size (--trace-block-size) says the size",
      cached { good, line(2, 1024, "1, 2, 3, 4, 5"), line(3, 1024, "1") })
    assert.are.equal(0, cached({ good, good, line(3, 1024, "1") }).cache.without_identity)
  end)

  it("names prompts in which an id stands twice, and those without any", function()
    local requests = read { line(1, 1536, "4, 5, 4"), line(2, 1536, "4, 5, 6"),
                            '{"timestamp": 3, "input_length": 9, "output_length": 1}' }
    assert.are.same({ n = 1, line = 1, text = "hash_ids[3] is hash_ids[1]" }, requests.repeats)
    local note = "hash_ids: prompts are known by blocks of 512 tokens; 1 prompt with an id twice, the first "
      .. "in line 1: hash_ids[3] is hash_ids[1]"
    assert.are.same({ note, "1 request without hash_ids" }, trace.notices(requests))
  end)

  it("follows from sessions where there are no ids: a turn goes on from the one before", function()
    local lines = { "arrival_s,prompt_tokens,output_tokens,session_id" }
    local function turn(at, prompt, output, session)
      lines[#lines + 1] = ("%d,%d,%d,%s"):format(at, prompt, output, session)
    end
    turn(0, 160, 16, "a")
    turn(50, 200, 20, "b")
    turn(100, 320, 16, "a") -- 160 of the prompt before, its answer, and 144 of its own
    turn(150, 90, 5, "b") -- shorter: another text
    turn(200, 322, 3, "a") -- goes on from the second prompt, with a part of its answer
    local requests = assert(trace.parse(table.concat(lines, "\n"), "t"))
    local run = assert(gdn.sim.run { requests = requests, cache = "every_block", cache_slots = 99,
                                     measure = false, kv_tokens = 0 })
    assert.are.same({ 0, 0, 160, 0, 320 }, run.per_request.cached)
    assert.are.equal((160 + 320) / (160 + 200 + 320 + 90 + 322), run.cache.ceiling)
    assert.matches("a turn's prompt is taken to begin with that of the turn before, where it is as long: "
      .. "2 of 3 turns", table.concat(run.setup.notices, "\n"))
    local none, message = gdn.sim.run { requests = requests, cache = true, sessions = 2, measure = false }
    assert.is_nil(none)
    assert.matches("sessions", message)
  end)

  it("is refused by row where ids are none", function()
    for ids, message in pairs {
      ["0.5"] = "hash_ids%[1%] = 0.5, want an integer between %-2%^53 and 2%^53 or a string",
      ["1, 1e300"] = "hash_ids%[2%] = 1e%+300", ["null"] = "hash_ids%[1%] = null", ["[1]"] = "= a list",
      ["9007199254740991, -9007199254740991, 1e17"] = "hash_ids%[3%] = 1e%+17",
      ["9007199254740993"] = "hash_ids%[1%] = 9.007199254741e%+15", -- reads as 2^53, another block's id
      ["-9007199254740993"] = "hash_ids%[1%] = %-9.007199254741e%+15",
    } do
      local _, why = trace.parse(line(1, 1024, ids), "t")
      assert.matches(message, why)
    end
    local _, why = trace.parse('{"timestamp": 1, "input_length": 9, "output_length": 1, "hash_ids": 3}', "t")
    assert.matches("hash_ids = 3, want a list of integers or strings", why)
    _, why = trace.parse('{"timestamp": 1, "input_length": 9, "output_length": 1, "hash_ids": {"a": 1}}', "t")
    assert.matches("^t:1: hash_ids is an object, want a list of integers or strings", why)
  end)
end)
