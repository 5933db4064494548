-- An engine's steps as Lua packs them: heads of idle steps and of the last record, whose rows of the kv table
-- are whose, what is said where they do not fit; and a model in Lua takes and gives one step after another.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"
local packs = require "gdnmeta.worker.pack"
local lib = require "gdnmeta.native"
local records = require "spec.support.step_records"

local int32s = gdn.array_of "int32_t"
local echo = { forward = function(_, _, tokens) return tokens end }

describe("Steps packed by Lua", function()
  local engine, worker, pack
  before_each(function()
    engine = hosts.engine({}, { kv_blocks = 40, kv_block_size = 16 })
    worker = assert(gdn.worker { engine = engine, model = echo })
    pack = worker.private.pack
  end)
  after_each(function()
    worker:close()
    engine:close()
  end)

  local function head(bytes)
    local step = assert(records.unpack(pack.memory, tonumber(bytes), pack.hello))
    return { tonumber(step.number), step.kind, step.graph, step.branches, step.num_rows, step.num_tokens,
             step.padded_rows, step.padded_tokens, step.num_groups, step.columns, step.num_table_changes,
             step.num_kv_copies, step.num_bring }
  end

  it("say of an idle one what an idle rank runs, and nothing of it in the last record", function()
    for name, graph in pairs { eager = 0, piecewise = 1, full = 2 } do
      for branches = 0, 7 do
        local function has(bits) return bit.band(branches, bits) ~= 0 and 5 or 0 end
        local step = { num_rows = 0, number = 6 + branches, graph = name, padded_rows = 2, padded_tokens = 9,
                       metadata = { num_spec_decodes = has(1), num_decodes = has(2), num_prefills = has(4) } }
        assert.are.same({ 6 + branches, 2, graph, branches, 0, 0, 2, 9, 3, 3, 0, 0, 0 },
          head(pack:step(step)))
        assert.are.same({ 70, 3, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0 }, head(pack:stop(70)))
      end
    end
    assert.are.equal(1, head(pack:stop(0))[1])
    local hello = ffi.new "gdn_hello"
    local bytes = pack:greeting()
    assert.are.equal(0, tonumber(lib.gdn_hello_unpack(pack.memory, bytes, hello, records.why, 512)))
    assert.are.same({ 40, 16 }, { hello.kv_blocks, hello.kv_block_size })
  end)

  it("name the owner of each row of the kv table, and say where a row is none", function()
    local rows = { 0, 1, -1 }
    local step = { num_rows = 3, num_tokens = 3, number = 4, graph = "eager", batch = worker.private.batch,
                   metadata = { num_spec_decodes = 0, num_decodes = 3, num_prefills = 0 },
                   request = { [0] = 0, 1, 3 }, epoch = { [0] = 9, 0, 2 ^ 31 - 1 },
                   seq_len = { [0] = 1, 16, 17 }, table_row = int32s(3, rows), kv_copies = {},
                   samples = int32s(3), kv_table = int32s(64) }
    assert.are.equal(gdn.EINVAL, tonumber(pack:step(step, int32s(3))))
    assert.are.equal("changes of the kv table do not fit", pack:problem())
    local got = {}
    for row = 0, 2 do got[row + 1] = { tonumber(pack.owner[row]), pack.used[row] } end
    assert.are.same({ { 9, 1 }, { 2 ^ 31, 1 }, { 4 * 2 ^ 31 - 1, 2 } }, got)
  end)

  it("cannot be where a hello is none, which is said", function()
    for name, message in pairs {
      kv_columns = "hello: kv_columns = -1, want 1 .. 2147483647",
      max_model_len = "hello: max_model_len = -1, want 1 .. 1073741824",
      reserved = "hello: reserved = -1, want 0 .. 0",
    } do
      local hello = ffi.new("gdn_hello", pack.hello)
      hello[name] = -1
      assert.are.same({ false, message }, { (packs.new(engine.private, hello)) or false,
                                            (select(2, packs.new(engine.private, hello))) })
    end
  end)

  it("are taken one after the other, and given so", function()
    local peer = worker.private.peer
    assert(engine:submit { id = 1, prompt_tokens = 5, max_tokens = 6 })
    assert.are.same({ 0, 0 }, { peer.taken, peer.given })
    for n = 1, 4 do
      local step = assert(engine:step(n))
      for t = 0, 4 do worker.tokens[t] = 10 * n + t end
      assert.is_true(worker:submit(step))
      assert.are.same({ n, n - 1 }, { peer.taken, peer.given })
      assert.is_nil(peer:poll(nil))
      assert.are.same({ n, n - 1 }, { peer.taken, peer.given })
      local result = assert(worker:poll())
      assert.are.same({ n, n }, { peer.taken, peer.given })
      assert.is_nil(peer:poll(step))
      assert.are.same({ n, n }, { peer.taken, peer.given })
      assert.are.equal(n == 1 and 14 or 10 * n, result.tokens[0])
      assert.are.equal(("gdnmeta.Result(number=%d, num_rows=1, num_tokens=1, num_drafts=0)"):format(n),
                       tostring(result))
      engine:complete(step, n)
    end
  end)
end)
