-- A worker whose process sleeps: the spec holds the worker's end of the channel itself, and says what time it
-- is.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"
local int32s = gdn.array_of "int32_t"
local lib = require "gdnmeta.native"
local records = require "spec.support.step_records"

local BUCKETS = { num_speculative_tokens = 1, num_groups = 1, full_cuda_graph = "mixed" }

local Peer = {}
Peer.__index = Peer

function Peer:open()
  local out, why = ffi.new "gdn_channel *[1]", ffi.new "char[300]"
  local status = lib.gdn_channel_open(lib.gdn_channel_descriptor(self.remote.channel), out, why, 300)
  assert(status == 0, ffi.string(why))
  self.channel = ffi.gc(out[0], lib.gdn_channel_free)
  return self
end

function Peer:plan()
  self.now = self.now + 1
  self.step = assert(self.engine:step(self.now))
  return self.step
end

-- Seconds after the start.
function Peer:submit(at) return self.worker:submit(self.step, nil, nil, self.start + at) end

-- fields: of a result, with arrays as lists
function Peer:say(fields)
  local r, held, memory, why = ffi.new "gdn_result_record", {}, records.memory(8192), ffi.new "char[512]"
  for name, value in pairs(fields) do
    if type(value) == "table" then held[name] = int32s(math.max(#value, 1), value) end
    r[name] = held[name] or value
  end
  r.text_bytes = fields.text and #fields.text or 0
  local bytes = lib.gdn_result_pack(r, memory, 8192, why, 512)
  assert(bytes > 0 and held, ffi.string(why))
  assert(lib.gdn_channel_send(self.channel, memory, bytes) == 0)
end

-- Poll, and note what it says and what the worker shows.
function Peer:poll(label, at)
  local result, message, code = self.worker:poll(self.start + at)
  self.note(label, result and "a result" or "nothing", message, code, tostring(self.worker),
    self.worker:ready(), self.worker.text, self.worker.in_flight)
  return result
end

-- It can be asked again.
function Peer:forgive() self.remote.code, self.remote.message = false, false end

function Peer:close(...)
  self.worker:close(...)
  if self.channel then lib.gdn_channel_free(ffi.gc(self.channel, nil)) end
  self.engine:close()
end

--- A worker of a program: gdn.worker, whose channel nobody holds yet, with two requests that wait.
---@param note function note(name, ...) of spec.support.noted, for poll()
---@param command string[]|nil default: a process that sleeps
---@param options table|nil of gdn.worker
---@param builder table|nil options of the builder
---@param engine table|nil options of the engine
return function(note, command, options, builder, engine)
  local self = setmetatable({ engine = hosts.engine(builder or BUCKETS, engine), note = note }, Peer)
  local o = { engine = self.engine, command = command or { "sleep", "60" }, deadline = 10,
              start_deadline = 20, vocab_size = 251 }
  for name, value in pairs(options or {}) do o[name] = value end
  self.worker = assert(gdn.worker(o))
  for id = 1, 2 do assert(self.engine:submit { id = id, prompt_tokens = 3, max_tokens = 20 }) end
  self.remote = self.worker.private.peer
  self.remote.progress = math.floor(self.remote.progress) -- whole seconds: a sum with quarters is exact
  self.start, self.now = self.remote.progress, 0
  return self
end
