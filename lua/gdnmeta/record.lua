--- Recordings: the inputs of an engine's steps in a file, with checksums of their outputs, so that a step
-- can be drawn and built again elsewhere. While one is written, an object stands in for the builder that the
-- engine's steps are built with; without, the engine does not know that recordings exist.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local checksum = require "gdnmeta.record.checksum"
local domains = require "gdnmeta.native.domains"
local format = require "gdnmeta.record.format"
local header = require "gdnmeta.record.header"
local change_rules = require "gdnmeta.engine.change_rules"
local options_of = require "gdnmeta.native.options"
local reader = require "gdnmeta.record.reader"
local request_events = require "gdnmeta.record.request_events"
local methods = require "gdnmeta.native.methods"
local step_line = require "gdnmeta.record.step_line"
local foreign_text = require "gdnmeta.native.foreign_text"

local EINVAL = tonumber(lib.GDN_EINVAL)
local MAX_BYTES = 64 * 2 ^ 20

---@class gdnmeta.Recording
---@field path string
---@field steps integer written so far
---@field bytes integer written so far
---@field stopped string|nil why it ended early
local Recording = {}
methods.strict("Recording", Recording, { stopped = true, file = true })

-- Steps are built by their builders again; what they wrote remains.
local function let_go(self)
  for step, builder in pairs(self.builders) do step.builder = builder end
  self.engine.recording = false
  self.requests:close()
  pcall(self.file.close, self.file) -- a write has already reported the error
  self.file = nil
end

local function put(self, line)
  local file = self.file
  if io.type(file) ~= "file" then error("the file was closed", 0) end
  local ok, why = file:write(line)
  if ok then ok, why = file:flush() end
  if not ok then error(why, 0) end
  self.bytes = self.bytes + #line
end

-- The end line is reserved in max_bytes; what came after the last line is written if there is more: news, and
-- steps up to `number` in which nothing ran.
local function finish(self, why, number)
  local document = { after = number }
  if self.requests:rest(document) or number > self.last then
    local line = format.line(self.json, format.AFTER, document)
    local fits = self.bytes + #line + format.END_BYTES <= self.max_bytes and #line <= format.MAX_LINE
    if fits then put(self, line) end
  end
  put(self, format.line(self.json, format.END, { ["end"] = why, steps = self.steps }))
  let_go(self)
end

local function stop(self, why)
  self.stopped = why
  finish(self, why, self.last)
end

-- A step's line, if there is room for it; steps counts those that were built.
local function add_line(self, number, line, built)
  if #line > format.MAX_LINE then
    stop(self, ("step %.0f takes %d bytes, a line has at most %d"):format(number, #line, format.MAX_LINE))
  elseif self.bytes + #line + format.END_BYTES > self.max_bytes then
    stop(self, ("max_bytes = %.0f reached before step %.0f"):format(self.max_bytes, number))
  else
    put(self, line)
    self.steps, self.last = self.steps + built, number
  end
end

local function add(self, step, builder, meta)
  local document = step_line.of(step, self.tables, self.facts, meta, checksum.step(builder, meta))
  self.requests:add(document, step)
  add_line(self, step.number, format.line(self.json, format.STEP, document), 1)
end

local function add_empty(self, document)
  document.now = step_line.seconds(document.now)
  add_line(self, document.empty, format.line(self.json, format.EMPTY, document), 0)
end

-- What fails here stops the recording, never the step.
local function or_stop(self, number, f, ...)
  local ok, why = pcall(f, self, ...)
  if ok then return end
  self.stopped = ("step %.0f: %s"):format(number, tostring(why))
  if self.file then let_go(self) end
end

local function stand_in(self, step)
  local builder = step.builder
  self.builders[step] = builder
  step.builder = setmetatable({
    build = function(_, batch, stream)
      local meta, message, code = builder:build(batch, stream)
      if not meta then return nil, message, code end
      or_stop(self, step.number, add, step, builder, meta)
      return meta
    end,
  }, { __index = builder })
end

--- Write the end of the file, and go on without.
---@return boolean|nil ok nil: it stopped before
---@return string? message why
function Recording:close()
  if getmetatable(self) ~= Recording then methods.colon("Recording", "close") end
  if self.file then
    local ok, why = pcall(finish, self, "closed", self.engine.step_number)
    if not ok then
      self.stopped = tostring(why)
      if self.file then let_go(self) end
    end
  end
  if self.stopped then return nil, self.stopped end
  return true
end

function Recording:__tostring()
  return ("gdnmeta.Recording(%s, %d steps, %d bytes%s)"):format(foreign_text.long(self.path),
    self.steps, self.bytes, self.stopped and ", stopped: " .. self.stopped or self.file and "" or ", closed")
end

local M = { open = reader.open }

local OPTIONS = {
  max_bytes = { MAX_BYTES, domains.integer(1, 2 ^ 53, "an integer in 1 .. 2^53") },
}

-- What is wrong, or nil and max_bytes.
local function options_problem(path, options)
  local problem = args.path_problem("path", path)
  if problem then return problem end
  local read, message = options_of.read(options, OPTIONS)
  if not read then return message end
  return nil, read.max_bytes
end

-- Why the engine's steps cannot be recorded, or nil.
local function refusal(engine)
  if engine.recording then
    return "already recording to " .. foreign_text.long(engine.recording.path)
  end
  if engine.device_accepted then
    return "accepted counts are given on the device, want them on the host to record them"
  end
  for group = 0, engine.builder.num_groups - 1 do
    if engine.builder.table_rows[group] then
      return ("group %d borrows its table, want its own"):format(group)
    end
  end
end

--- Record an engine: see Engine:record, which calls this and is called by a host. engine: its private part.
---@return table|nil recording
---@return string? message
---@return integer? code
function M.start(engine, path, options)
  local problem, max_bytes = options_problem(path, options)
  if problem then error("gdnmeta.Engine:record: " .. problem, 3) end
  change_rules.again(engine, "record", 4) -- a metamethod of the options may have closed it
  problem = refusal(engine)
  if problem then return nil, problem, EINVAL end
  local json, message = format.json()
  if not json then return nil, message, EINVAL end
  local self = setmetatable({ engine = engine, path = path, json = json, steps = 0, bytes = 0,
                              last = engine.step_number, requests = false, builders = {},
                              max_bytes = max_bytes, tables = engine.states.tables,
                              facts = header.builder(engine.builder) }, Recording)
  local first = format.line(json, format.HEADER, header.of(engine))
  if #first + format.END_BYTES > self.max_bytes then
    return nil, ("max_bytes = %.0f, want at least %d for header and end"):format(self.max_bytes,
      #first + format.END_BYTES), EINVAL
  end
  self.file, message = io.open(path, "wb")
  if not self.file then return nil, foreign_text.message(message), EINVAL end
  local ok, why = pcall(put, self, first)
  if not ok then
    self.file:close()
    return nil, tostring(why), EINVAL
  end
  self.requests = request_events.new(engine, function(document)
    or_stop(self, document.empty, add_empty, document)
  end)
  engine.recording = self
  for _, step in ipairs(engine.steps) do stand_in(self, step) end
  return self
end

return M
