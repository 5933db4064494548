-- The process of a worker whose model is written in Lua: examples/worker.lua.
local ffi = require "ffi"
local answer = require "gdnmeta.worker.answer"
local builders = require "gdnmeta.builder"
local hellos = require "gdnmeta.worker.hello"
local lib = require "gdnmeta.worker.native"
local c_buffers = require "gdnmeta.native.c_buffers"

local why_t, FOREVER = ffi.typeof "char[512]", 1e9
local WHY = ffi.sizeof(why_t)
local ECLOSED = tonumber(lib.GDN_ECLOSED)
local IDLE, STOP = tonumber(lib.GDN_STEP_IDLE), tonumber(lib.GDN_STEP_STOP)

local Serving = {}
Serving.__index = Serving

local function check(self, status)
  if status < 0 then error("gdnmeta.worker: " .. ffi.string(self.why), 0) end
  return status
end

-- The next record: its bytes, or nil when the engine is gone.
local function receive(self)
  local bytes = lib.gdn_channel_receive(self.channel, self.input, self.input_bytes, FOREVER)
  if bytes == ECLOSED then return nil end
  if bytes < 0 then error("gdnmeta.worker: the channel is corrupt", 0) end
  if bytes == 0 then return receive(self) end
  return bytes
end

local function send(self, result)
  local bytes = lib.gdn_result_pack(result, self.output, self.output_bytes, self.why, WHY)
  check(self, bytes)
  return lib.gdn_channel_send(self.channel, self.output, bytes)
end

--- Say that it cannot go on, and why.
function Serving:fail(number, text)
  local result = ffi.new "gdn_result_record"
  text = text:gsub("%z", " "):sub(1, 4095)
  result.number, result.status, result.text, result.text_bytes = number, lib.GDN_RESULT_FAILED, text, #text
  return send(self, result)
end

local function greet(self, bytes, make_model, said)
  local hello = ffi.new "gdn_hello"
  check(self, lib.gdn_hello_unpack(self.input, bytes, hello, self.why, WHY))
  self.hello, self.held = hello, self.input -- num_slots points into the record
  self.input = self.buffers:bytes("input", self.input_bytes)
  self.builder = assert(builders.new(hellos.options(hello, "cpu")))
  self.batch = assert(self.builder:batch())
  self.model, self.answer = make_model(self.builder, tonumber(hello.seed)), answer.new(hello.config)
  local result = ffi.new "gdn_result_record"
  result.text, result.text_bytes = said, #said
  send(self, result)
end

local function run(self, bytes)
  local step, result = self.step, self.result
  check(self, lib.gdn_step_unpack(self.input, bytes, self.hello, step, self.why, WHY))
  if step.kind == STOP then return false end
  result.number, result.num_rows, result.num_tokens = step.number, step.num_rows, 0
  if step.kind == IDLE then
    assert(builders.capture_bucket(self.builder, step.padded_rows, step.padded_tokens))
  else
    check(self, lib.gdn_step_batch(step, self.builder.handle, self.batch.rows, self.why, WHY))
    local saying = self.answer
    saying:run(self.model, step, assert(self.builder:build(self.batch)))
    result.emitted, result.tokens, result.num_tokens = saying.emitted, saying.said, saying.num_said
  end
  return send(self, result) == 0
end

--- Serve the engine that has started this process, until it closes the channel. What goes wrong is told to
--- the engine, and raised.
---@param make_model function(builder, seed) -> a model, see answer.lua
---@param options table|nil descriptor (default: $GDNMETA_CHANNEL), text (what the worker says of itself)
return function(make_model, options)
  options = options or {}
  local descriptor = options.descriptor or tonumber(os.getenv "GDNMETA_CHANNEL")
  if not descriptor then error("gdnmeta.worker: no channel: $GDNMETA_CHANNEL is not set", 0) end
  local out, why, buffers = ffi.new "gdn_channel *[1]", why_t(), c_buffers.new()
  local status = lib.gdn_channel_open(descriptor, out, why, WHY)
  if status ~= 0 then error("gdnmeta.worker: " .. ffi.string(why), 0) end
  local channel = ffi.gc(out[0], lib.gdn_channel_free)
  local self = setmetatable({ channel = channel, why = why, buffers = buffers,
                              input_bytes = lib.gdn_channel_largest(channel, 1),
                              output_bytes = lib.gdn_channel_largest(channel, 0),
                              step = ffi.new "gdn_step_record",
                              result = ffi.new "gdn_result_record" }, Serving)
  self.input = buffers:bytes("hello", self.input_bytes)
  self.output = buffers:bytes("output", self.output_bytes)
  local ok, problem = pcall(function()
    local bytes = receive(self)
    if not bytes then return end
    greet(self, bytes, make_model, options.text or "")
    repeat bytes = receive(self) until not bytes or not run(self, bytes)
  end)
  if ok then return end
  pcall(self.fail, self, tonumber(self.step.number), tostring(problem))
  error(problem, 0)
end
