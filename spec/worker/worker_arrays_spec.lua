-- Memory of a worker on the engine's side: bytes of each array that is made once, and what stands there at
-- first; and what is forgotten of the kv table. Against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"
local in_order = require "spec.support.in_order"
local noted = require "spec.support.noted"

local notes = noted.new "worker-"

local echo = { forward = function(_, _, tokens) return tokens end }

-- Arrays of an object, and blocks of its buffers.
local function note_arrays(title, object)
  for name, value in in_order(object) do
    local is_array = type(value) == "cdata" and tostring(ffi.typeof(value)):find "%[%?%]"
    if is_array then notes.note(title, name, tostring(ffi.typeof(value)), ffi.sizeof(value)) end
  end
  for name, bytes in in_order(rawget(object, "buffers") and object.buffers.sizes or {}) do
    notes.note(title, "block", name, bytes)
  end
end

local SIZES = {
  { { num_speculative_tokens = 0, max_num_seqs = 1, num_groups = 1 }, {} },
  { {}, {} },
  { { max_rows = 5, max_requests = 4 }, { kv_blocks = 40, kv_block_size = 16 } },
  { { mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 20 }, {} },
}

describe("A worker's memory", function()
  before_each(notes.clear)

  it("has these sizes", function()
    for number, sizes in ipairs(SIZES) do
      local engine = hosts.engine(unpack(sizes))
      local worker = assert(gdn.worker { engine = engine, model = echo })
      local self = worker.private
      note_arrays(number .. " pack", self.pack)
      note_arrays(number .. " result", self.result)
      assert.are.equal(2, #self.peer.slots)
      for n, slot in ipairs(self.peer.slots) do
        note_arrays(("%d answer %d"):format(number, n), slot.answer)
        assert.are.equal(self.peer.slots[1].answer.last, slot.answer.last)
      end
      local pack = self.pack
      notes.note(number .. " numbers", pack.size, tonumber(pack.result_bytes), pack.max_changes,
        pack.bare.num_groups, pack.bare.columns, tonumber(pack.hello.max_kv_copies))
      worker:close()
      local remote = assert(gdn.worker { engine = engine, command = { "true" } })
      note_arrays(number .. " remote", remote.private.peer)
      remote:close()
      engine:close()
    end
    notes.check "arrays"
  end)

  it("says that nothing was sampled, proposed or sent", function()
    local engine = hosts.engine(unpack(SIZES[3]))
    local worker = assert(gdn.worker { engine = engine, model = echo })
    local pack, result = worker.private.pack, worker.private.result
    for row = 0, 4 do
      assert.are.same({ 0, 1, 0 }, { worker.temperature[row], worker.top_p[row], tonumber(worker.seed[row]) })
    end
    assert.are.same({ 0, 0, 0 }, { result.num_rows, result.num_tokens, result.num_drafts })
    local bytes = ffi.sizeof(pack.sent)
    assert.are.equal(4 * ffi.sizeof "gdn_kv_sent", bytes)
    local function unknown() return (ffi.string(pack.sent, bytes):gsub("\255", "")) end
    assert.are.equal("", unknown())
    ffi.fill(pack.sent, bytes, 1)
    pack:forget()
    assert.are.equal("", unknown())
    worker:close()
    engine:close()
  end)
end)
