-- Every public function that is no method of an object, called wrongly: what it raises stands at its caller's
-- line. Objects' methods: callers_spec.
local gdn = require "gdnmeta"
local stands = require "spec.support.stands"

describe("A mistake is raised at the caller's line", function()
  it("by caches and policies", function()
    for _, wrong in ipairs { 5, true, print, 1e300 } do
      stands("gdnmeta.cache: ", function() gdn.cache(wrong) end)
      if wrong ~= print then stands("gdnmeta.policy: ", function() gdn.policy(wrong) end) end
    end
    stands("gdnmeta.cache: nil, want", function() gdn.cache() end)
    stands("gdnmeta.policy: nil, want", function() gdn.policy() end)
    stands("gdnmeta.cache: options = 5", function() gdn.cache("fifo", 5) end)
    stands("gdnmeta.cache: unknown option", function() gdn.cache("fifo", { nope = 1 }) end)
    stands("gdnmeta.cache: trusted = 1", function() gdn.cache("fifo", { trusted = 1 }) end)
    for _, what in ipairs { "fifo", {} } do
      stands("gdnmeta.cache: source is given", function() gdn.cache(what, { source = "" }) end)
    end
    stands("gdnmeta.cache: unknown field", function() gdn.cache { nope = 1 } end)
    stands("gdnmeta.cache: keep = 1", function() gdn.cache { keep = 1 } end)
    stands("gdnmeta.policy: order and key", function() gdn.policy { order = "fcfs", key = print } end)
    for _, other in ipairs { "key", "order" } do
      local both = { step = print, [other] = other == "key" and print or "fcfs" }
      stands("gdnmeta.policy: step and a key", function() gdn.policy(both) end)
    end
    for field, value in pairs { admit = print, chunk = 5, drafts = 1, victim = "last", preempt_for = true,
                                static = true, decode_first = false } do
      local both = { step = print, [field] = value }
      local words = ("gdnmeta.policy: step and %s are"):format(field)
      stands(words, function() gdn.policy(both) end)
    end
    stands("gdnmeta.policy: no policy", function() gdn.policy { order = "nope" } end)
    stands("gdnmeta.policy: preempt_for", function() gdn.policy { preempt_for = true } end)
    stands("gdnmeta.Cache: no field", function() return gdn.cache("fifo").nope end)
    stands("gdnmeta.Policy: no field", function() return gdn.policy("fcfs").nope end)
  end)

  it("by ids of blocks", function()
    stands("gdnmeta.hash_blocks: size", function() gdn.hash_blocks({}, 0) end)
    stands("gdnmeta.hash_blocks: size", function() gdn.hash_blocks({}, 2 ^ 20 + 1) end)
    stands("gdnmeta.hash_blocks: previous", function() gdn.hash_blocks({}, 1, nil, -1) end)
    stands("gdnmeta.hash_blocks: salt", function() gdn.hash_blocks({}, 1, {}) end)
    stands("gdnmeta.hash_blocks: tokens", function() gdn.hash_blocks(5, 1) end)
    stands("gdnmeta.hash_blocks: tokens", function() gdn.hash_blocks({ "x" }, 1) end)
    stands("gdnmeta.hash_chain: salt", function() gdn.hash_chain({}, {}) end)
    stands("gdnmeta.hash_chain: ids", function() gdn.hash_chain(5) end)
    stands("gdnmeta.hash_chain: ids", function() gdn.hash_chain { 1.5 } end)
  end)

  it("by arrays, buckets and the library itself", function()
    stands("gdnmeta.array_of: element", function() gdn.array_of(5) end)
    local int32s = gdn.array_of "int32_t"
    stands("gdnmeta.array_of: a list of 3", function() int32s(2, { 1, 2, 3 }) end)
    stands("gdnmeta.bucket: rows", function() gdn.bucket("x", 1) end)
    stands("gdnmeta.bucket: tokens", function() gdn.bucket(1, "x") end)
    stands("gdnmeta.bucket: unknown", function() gdn.bucket(1, 1, { nope = 1 }) end)
    stands("gdnmeta.on_deprecated", function() gdn.on_deprecated = 5 end)
    stands("gdnmeta.record.open: max_memory", function() gdn.record.open("x", "y") end)
    local reader = assert(gdn.record.open "fuzz/corpus/recording/steps")
    stands("gdnmeta.Reader:next: call it", function() reader.next() end)
    stands("gdnmeta.Reader:close: call it", function() reader.close() end)
    stands("gdnmeta.Reader: no field", function() return reader.nope end)
    reader:close()
    stands("gdnmeta.reference.layer: want", function() gdn.reference.layer(5) end)
    stands("gdnmeta.reference.layer: unknown", function() gdn.reference.layer { nope = 1 } end)
  end)

  it("but for a handler of old names, which is a function or none", function()
    local was = gdn.on_deprecated
    for _, handler in ipairs { print, function() end } do
      gdn.on_deprecated = handler
      assert.are.equal(handler, gdn.on_deprecated)
      gdn.on_deprecated = nil
      assert.is_nil(gdn.on_deprecated)
    end
    gdn.on_deprecated = was
  end)

  it("but for options that do not fit each other, which are refused", function()
    local o = { max_num_seqs = 4, num_speculative_tokens = 3, max_blocks_per_row = 1 }
    local refused = { nil, "max_blocks_per_row = 1, want >= 4", gdn.EINVAL }
    for _, name in ipairs { "builder", "builder_bytes" } do assert.are.same(refused, { gdn[name](o) }) end
    assert.are.same(refused, { gdn.bucket(1, 1, o) })
    local slots = gdn.array_of "int32_t"(2, { 30, 50 })
    local want = gdn.builder_bytes { num_groups = 2, num_slots = { 30, 50 } }
    for _, given in ipairs { slots, { slots + 0, 2 } } do
      assert.are.equal(want, (gdn.builder_bytes { num_groups = 2, num_slots = given }))
    end
  end)

  it("by the parts of the simulator", function()
    local sim, one = gdn.sim, { { arrival = 0, prompt = 5, output = 1 } }
    stands("sim.sweep: want a policy", function() sim.sweep { policies = {}, rates = { 1 } } end)
    stands("sim.sweep: want a policy", function() sim.sweep { rates = {} } end)
    stands("sim.sweep: attainment", function() sim.sweep { attainment = 2 } end)
    stands("sim.run: ", function() sim.run { num_groups = 0 } end)
    stands("sim.run: workload", function() sim.run { workload = { nope = 1 } } end)
    local drafting = { num_speculative_tokens = 1, acceptance = { mean = 9 } }
    stands("acceptance.new: ", function() sim.run(drafting) end)
    stands("sim.run: num_groups", function() sim.sweep { requests = one, rates = { 1 }, num_groups = 0 } end)
    stands("acceptance.new: want one", function() sim.acceptance.new {} end)
    stands("acceptance.new: drafts", function() sim.acceptance.new { mean = 2 } end)
    stands("acceptance.new: mean", function() sim.acceptance.new { mean = 3, drafts = 1 } end)
    stands("acceptance.new: rates", function() sim.acceptance.new { rates = {}, drafts = 1 } end)
    stands("acceptance.new: recorded", function() sim.acceptance.new { recorded = {} } end)
    stands("acceptance.new: unknown", function() sim.acceptance.new { nope = 1 } end)
    stands("cost.new: unknown", function() sim.cost.new { nope = 1 } end)
    stands("sim.cost: want", function() sim.cost(5) end)
    stands("sim.cost: unknown", function() sim.cost { nope = 1 } end)
    local cost = sim.cost { c0 = 1 }
    for _, wrong in ipairs { "x", {} } do
      stands("sim.cost.predict: tokens", function() cost.predict(wrong) end)
      stands("sim.cost.predict: rows", function() cost.predict(1, wrong) end)
      stands("sim.cost.tokens_within: seconds", function() cost.tokens_within(wrong) end)
      stands("sim.cost.tokens_within: rows", function() cost.tokens_within(1, wrong) end)
      stands("sim.cost.tokens_within: most", function() cost.tokens_within(1, 1, wrong) end)
    end
    stands("trace.parse: unknown", function() sim.trace.parse("", "t", { nope = 1 }) end)
    stands("trace.read: unknown", function() sim.trace.read("t", { nope = 1 }) end)
    stands("trace.parse: time_unit", function() sim.trace.parse("", "t", { time_unit = "h" }) end)
    stands("trace.read: time_unit", function() sim.trace.read("t", { time_unit = "h" }) end)
    stands("workload.generate: ", function() sim.workload.generate { nope = 1 } end)
    stands("dialogues.generate: ", function() sim.dialogues.generate { kind = "nope" } end)
  end)

  it("by the lab", function()
    local lab = gdn.sim.lab
    local good = { prompt = 5, blocks = { 1 } }
    for _, method in ipairs { "ceiling", "replay" } do
      local largest = { block_size = 2 ^ 20, { prompt = 5 } }
      assert.is_truthy(lab[method](largest, "fifo"))
      for _, wrong in ipairs { 5, { good }, { block_size = 0, good }, { block_size = 2 ^ 20 + 1, good } } do
        stands(("lab.%s: requests of no"):format(method), function() lab[method](wrong, "fifo") end)
      end
      stands(("lab.%s: no requests"):format(method), function() lab[method]({ block_size = 4 }, "fifo") end)
      local list = { block_size = 4, good, 5 }
      stands(("lab.%s: requests[2]"):format(method), function() lab[method](list, "fifo") end)
      list[2] = { prompt = 0 }
      stands(("lab.%s: requests[2].prompt"):format(method), function() lab[method](list, "fifo") end)
    end
    local requests = { block_size = 4, good }
    stands("lab.replay: cache", function() lab.replay(requests, 5) end)
    stands("lab.replay: no cache", function() lab.replay(requests, "nope") end)
    stands("lab.replay: unknown", function() lab.replay(requests, "fifo", { nope = 1 }) end)
  end)
end)
