-- Recordings: a step builds again to the same, wherever; one other value is noticed.
local drivers = require "spec.support.driver"
local ffi = require "ffi"
local fields = require("gdnmeta.native.schema").fields
local array_of = require "gdnmeta.array_of"
local gdn = require "gdnmeta"
local header = require "gdnmeta.record.header"
local play = require "spec.support.random_traffic"
local random_config = require "spec.support.random_config"
local rebuilds = require "gdnmeta.record.rebuild"
local recordings = require "spec.support.recordings"
local until_met = require "spec.support.until_met"

local CASES = tonumber(os.getenv "GDN_CASES") or 2000
local SEED = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24

local read, walk = recordings.read, recordings.walk

describe("A recording", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  -- Uncompiled: the LuaJIT of Debian 12 has crashed in compiled loops over pairs.
  describe("of random traffic", function()
    setup(function() jit.off() end)
    teardown(function() jit.on() end)

    local seen

    local function note(kind) seen[kind] = (seen[kind] or 0) + 1 end

    local function again(device, recorded_on, case)
      math.randomseed(case)
      local c, where = play.configuration(), ("GDN_SEED=%d"):format(case)
      c.async, c.device = math.random() < 0.4, recorded_on
      local e = play.engine(c, "fcfs")
      local recording = assert(e:record(path))
      play.run(c, { engine = e, where = where, requests = play.requests(c, 12), cancel = 0.02 })
      e:close()
      assert.is_nil(recording.stopped, where)
      assert.are.equal(#read(path), recording.bytes)
      local rebuild, last = nil, 0
      local n, missing, message = walk(path, function(step, reader)
        rebuild = rebuild or assert(rebuilds.new(reader.header, device))
        local meta = assert(rebuild:build(step))
        assert.are.same({}, (rebuild:differences(step, meta)), where)
        if step.read_blocks then note "read elsewhere" end
        if step.drafts[1] >= 0 then note "speculative" end
        if step.step == last then note "built again" end
        if step.padded_rows > #step.query_len then note "padded" end
        last = step.step
      end)
      assert.is_nil(message, where)
      assert.is_nil(missing, where)
      assert.are.equal(recording.steps, n, where)
      if rebuild then rebuild:close() end
    end

    it("builds again to the same values", function()
      seen = {}
      local wanted = { ["read elsewhere"] = 1, speculative = 1, ["built again"] = 1, padded = 1 }
      until_met(SEED, math.ceil(CASES / 40), wanted, function(case, met)
        seen = met
        again("cpu", nil, case)
      end)
    end)

    it("builds to the same on a GPU, and from there on the CPU", function()
      local driver = drivers.open "fake"
      seen = {}
      for case = SEED, SEED + math.ceil(CASES / 400) - 1 do
        again("cuda", nil, case)
        again("cpu", "cuda", case)
      end
      driver:close()
    end)
  end)

  it("notices one other value, and says in which tensor of which group", function()
    recordings.short(path, 3)
    local reader = assert(gdn.record.open(path))
    local rebuild = assert(rebuilds.new(reader.header, "cpu"))
    local step = assert(reader:next())
    step.blocks[2][1] = 3
    local differ = rebuild:differences(step, assert(rebuild:build(step)))
    assert.are.same({ { name = "non_spec_state_indices_tensor", group = 1 },
                      { name = "prefill_state_indices", group = 1 } }, differ)
    rebuild:close()
    reader:close()
  end)

  it("notices each count by its name, and says how many values it compared", function()
    recordings.short(path, 3)
    local reader = assert(gdn.record.open(path))
    local rebuild = assert(rebuilds.new(reader.header, "cpu"))
    local step = assert(reader:next())
    local meta, values = assert(rebuild:build(step)), #step.counts
    for _, sums in pairs(step.sums) do values = values + #sums end
    local differ, compared = rebuild:differences(step, meta)
    assert.are.same({ {}, values }, { differ, compared })
    assert.is_true(values > #step.counts)
    for i, name in ipairs(fields.counts) do
      step.counts[i] = step.counts[i] + 1
      differ, compared = rebuild:differences(step, meta)
      assert.are.same({ { { name = name } }, values }, { differ, compared })
      step.counts[i] = step.counts[i] - 1
    end
    rebuild:close()
    reader:close()
  end)

  it("names the device that it was made on", function()
    recordings.short(path, 1)
    local text = read(path)
    for _, device in ipairs { "cpu", "cuda", "another" } do
      recordings.write(path, (text:gsub('"device":"cpu"', ('"device":%q'):format(device), 1)))
      local reader = assert(gdn.record.open(path))
      assert.are.equal(device, reader.header.builder.device)
      reader:close()
    end
  end)

  -- At least, and under strict rules, which note who uses a slot, not much more.
  it("is judged by the memory that its builder and a batch take", function()
    local rand = random_config.rng(SEED)
    for case = 0, math.ceil(CASES / 10) do
      local strict = case % 2 == 0
      local config = random_config.config(rand, strict and "strict" or "vllm-2026-04")
      config.device, config.rules = "cpu", strict and "strict" or "vllm-2026-04"
      if case == 0 then config = { device = "cpu", max_num_seqs = 65536, max_num_batched_tokens = 1024 } end
      local builder = assert(gdn.builder(config))
      local cells = builder.num_groups * builder.max_rows * builder.max_blocks_per_row
      local bytes = builder.bytes + 4 * (cells + 7 * builder.max_rows)
      local judged = header.memory(header.builder(builder))
      local where = ("GDN_SEED=%d case %d: %d bytes, judged %d"):format(SEED, case, bytes, judged)
      assert.is_true(judged >= bytes and (not strict or judged < 3 * bytes), where)
      builder:close()
    end
  end)
end)

describe("A checksum", function()
  local checksum = require "gdnmeta.record.checksum"
  local tensor = require "gdnmeta.tensor"
  local builder, core = { device = "cpu" }, { stamp = ffi.new "double[1]" }
  local KINDS = { int32 = { 0, array_of "int32_t" }, int64 = { 1, array_of "int64_t" },
                  bool = { 2, array_of "uint8_t" } }

  local function sum(dtype, shape, values)
    local kind = KINDS[dtype]
    local data = kind[2](#values + 1, values)
    local view = tensor.view(core, ffi.new("gdn_tensor", data, { shape[1], shape[2] or 1 }, kind[1], #shape))
    return checksum.tensor(builder, view), data -- which has to outlive the view
  end

  it("is of dtype, shape and every value", function()
    local seen = {}
    for _, args in ipairs {
      { "int32", { 2 }, { 1, 2 } }, { "int32", { 2 }, { 2, 1 } }, { "int32", { 2 }, { 1, 3 } },
      { "int32", { 2 }, { 1, -2 } }, { "int64", { 2 }, { 1, 2 } }, { "int32", { 2, 1 }, { 1, 2 } },
      { "int32", { 1, 2 }, { 1, 2 } }, { "int32", { 3 }, { 1, 2, 0 } }, { "int32", { 0 }, {} },
      { "bool", { 2 }, { 1, 0 } }, { "bool", { 2 }, { 0, 1 } }, { "int32", { 2 }, { -1, -1 } },
    } do
      local digits = sum(unpack(args))
      assert.matches("^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$", digits)
      assert.is_nil(seen[digits])
      seen[digits] = true
    end
    assert.are.equal((sum("int32", { 2 }, { 1, 2 })), (sum("int32", { 2 }, { 1, 2 })))
  end)

  it("is FNV-1a of 64 bits", function()
    -- dtype 0, one dimension of one element, the element 7, worked out apart.
    assert.are.equal("447f667f98e900f2", (sum("int32", { 1 }, { 7 })))
  end)
end)
