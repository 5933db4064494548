-- A model in Lua behind the interface of a worker: it runs when a step is sent, and its result waits for
-- poll.
local ffi = require "ffi"
local answer = require "gdnmeta.worker.answer"
local lib = require "gdnmeta.worker.native"

local result_t, record_t = ffi.typeof "gdn_result_record", ffi.typeof "gdn_step_record"
local why_t = ffi.typeof "char[512]"
local WHY = ffi.sizeof(why_t)

local Embedded = {}
Embedded.__index = Embedded

local function broken(self, message)
  self.message, self.code = message, "dead"
  return nil, message, "dead"
end

--- A new model, where the option is a function that makes one.
function Embedded:start()
  local given = self.options.model
  self.code, self.model, self.is_ready = false, given, true
  self.taken, self.given = 0, 0 -- steps, and results of them
  if type(given) ~= "function" then return true end
  local ok, made = pcall(given, self.engine.builder)
  if not ok then return broken(self, "the model: " .. tostring(made)) end
  self.model = made
  return true
end

local function run(self, step, slot)
  local views, saying = self.views, slot.answer
  assert(lib.gdn_step_unpack(self.pack.memory, self.bytes, self.pack.hello, views, self.why, WHY) == 0,
         ffi.string(self.why))
  local result = slot.result
  result.number, result.status, result.num_rows = step.number, lib.GDN_RESULT_OK, step.num_rows
  saying.num_said = 0
  if step.num_rows > 0 then saying:run(self.model, views, step.metadata) end
  result.emitted, result.tokens, result.num_tokens = saying.emitted, saying.said, saying.num_said
end

--- Run the packed record, which is `step`.
function Embedded:send(bytes, _, step)
  self.bytes = bytes
  local slot = self.slots[self.taken % #self.slots + 1]
  local ok, message = pcall(run, self, step, slot)
  if not ok then return broken(self, "the model: " .. tostring(message)) end
  self.taken = self.taken + 1
  return true
end

function Embedded:poll(step)
  if self.code then return nil, self.message, self.code end
  if not step or self.given == self.taken then return nil end
  local slot = self.slots[self.given % #self.slots + 1]
  self.given = self.given + 1
  self.shown:take(step, slot.result)
  return true
end

function Embedded:stop() broken(self, "the worker is closed") end
function Embedded.id() return nil end -- luacheck: ignore

local M = {}

function M.new(pack, options, _, shown)
  local self = setmetatable({ shown = shown, pack = pack, options = options, engine = pack.engine,
                              views = record_t(), why = why_t(), text = "", slots = {} },
                            Embedded)
  local shared = answer.new(pack.hello.config)
  for n = 1, 2 do
    local own = answer.new(pack.hello.config)
    own.last = shared.last -- what the step before has said
    self.slots[n] = { answer = own, result = result_t() }
  end
  return self
end

return M
