-- Reads a recording line by line. The file is not trusted: lines are of bounded length, JSON of
-- bounded depth, and every number is checked before it reaches C. A truncated file is read up to its
-- last whole line.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local format = require "gdnmeta.record.format"
local headers = require "gdnmeta.record.header"
local validate = require "gdnmeta.record.validate"
local methods = require "gdnmeta.native.methods"
local printed = require "gdnmeta.native.printed"
local validate_requests = require "gdnmeta.record.validate_requests"
local step_line = require "gdnmeta.record.step_line"
local foreign_text = require "gdnmeta.native.foreign_text"

local EINVAL = tonumber(lib.GDN_EINVAL)
local BLOCK = 65536         -- bytes that are read at once
local STEP = printed.figures("RecordedStep", { "step", "line", "now", "graph", "query_len", "seq_len" })
local MAX_MEMORY = 2 ^ 30   -- bytes of a builder, if the caller gives no limit

---@class gdnmeta.Reader
---@field path string
---@field header table library, builder, engine
---@field steps integer read so far
---@field missing string|nil at the end: what the file lacks
---@field after table|nil at the end: what happened to requests after the last step
---@field on_empty function|nil called with each line of a step in which nothing ran
local Reader = {}
methods.strict("Reader", Reader, { file = true, header = true, failed = true, after = true, missing = true,
                                   ended = true, done = true, buffer = true, on_empty = true })

-- The next whole line, without its newline; nil at the end, where self.rest is what no newline follows.
local function line(self)
  local parts, length = {}, 0
  while true do
    local at = self.buffer:find("\n", self.at)
    local part = self.buffer:sub(self.at, at and at - 1)
    parts[#parts + 1], length = part, length + #part
    if length > format.MAX_LINE then
      return nil, ("longer than the %d bytes that a line may have"):format(format.MAX_LINE)
    end
    if at then
      self.at = at + 1
      return table.concat(parts)
    end
    local block, why = self.file:read(BLOCK)
    self.at, self.buffer = 1, block or ""
    if not block then
      self.rest = length
      return nil, why
    end
  end
end

local function refuse(self, message)
  self.failed = ("%s:%d: %s"):format(foreign_text.long(self.path), self.number, message)
  return nil, self.failed, EINVAL
end

-- A line as a table; nil at the end; nil, message when it is none.
local function document(self)
  self.number = self.number + 1
  local text, why = line(self)
  if not text then
    if why then return refuse(self, why) end
    return nil
  end
  local ok, value = pcall(self.json.decode, text)
  if not ok then return refuse(self, validate.short(value)) end
  if type(value) ~= "table" then return refuse(self, validate.wrong("the line", value, "an object")) end
  return value
end

-- What the file lacks, in words, or nil.
local function missing(self)
  if self.rest > 0 then
    return ("truncated in line %d after %d bytes"):format(self.number, self.rest)
  elseif not self.ended then
    return ("no end line after line %d: truncated there, or still being written"):format(self.number - 1)
  elseif self.ended ~= "closed" then
    return "the recording ended early: " .. self.ended
  end
end

local function finish(self, last)
  if type(last["end"]) ~= "string" or #last["end"] > format.END_BYTES then
    return refuse(self, validate.wrong("end", last["end"], "a reason"))
  end
  local problem = validate.unknown(last, format.END) or last.steps ~= self.steps
    and validate.wrong("steps", last.steps, ("%d, the steps before it"):format(self.steps))
  if problem then return refuse(self, problem) end
  self.ended = validate.short(last["end"])
  local behind, message = document(self)
  if message then return nil, message, EINVAL end
  if behind then return refuse(self, "comes after the end") end
  if self.rest > 0 then return refuse(self, "comes after the end") end
end

-- What happened to requests after the last step; the end may follow.
local function read_after(self, value)
  local problem = validate.unknown(value, format.AFTER) or validate.count("after", value.after, 0, 2 ^ 53)
    or validate_requests(value)
  if problem then return refuse(self, problem) end
  self.after = value
  local last, message, code = document(self)
  if last and last["end"] == nil then return refuse(self, "comes after the last line but is not the end") end
  return last, message, code
end

-- The next line that is no empty step; those go to on_empty.
local function built(self)
  while true do
    local value, message = document(self)
    if not value or value.empty == nil then return value, message end
    local problem = step_line.empty_problem(value)
    if problem then return refuse(self, problem) end
    if self.on_empty then self.on_empty(value) end
  end
end

--- The next step that was built; those between, in which nothing ran, go to on_empty(line), if that is set.
--- Nil at the end, and then self.missing says what the file lacks, or is nil, and self.after what happened to
--- requests after the last step.
---@return table|nil step its fields as in format.lua
---@return string? message a line that is no step, with its number
---@return integer? code
function Reader:next()
  if getmetatable(self) ~= Reader then methods.colon("Reader", "next") end
  if self.failed then return nil, self.failed, EINVAL end
  if self.done then return nil end
  local value, message = built(self)
  if value and value.after ~= nil then value, message = read_after(self, value) end
  if message then return nil, message, EINVAL end
  if value and value["end"] == nil then
    local step
    step, message = step_line.parse(value, self.header.builder)
    if not step then return refuse(self, message) end
    self.steps, step.line = self.steps + 1, self.number
    return setmetatable(step, STEP)
  end
  self.done = true
  local _, code
  if value then
    _, message, code = finish(self, value)
    if message then return nil, message, code end
  end
  self.missing = missing(self)
  return nil
end

--- Close the file; next() returns nil from then on.
function Reader:close()
  if getmetatable(self) ~= Reader then methods.colon("Reader", "close") end
  if self.file then self.file:close() end
  self.file, self.done = nil, true
end

function Reader:__tostring()
  return ("gdnmeta.Reader(%s, %d steps%s)"):format(foreign_text.long(self.path), self.steps,
    self.file and "" or ", closed")
end

local M = {}

--- Open a recording and read its header.
---@param path string
---@param max_memory number|nil bytes that a builder of it may take, default 1 GiB
---@return table|nil reader header { library, builder, engine }, next(), close()
---@return string? message
---@return integer? code
function M.open(path, max_memory)
  local problem = args.path_problem("path", path)
  if problem then
    error("gdnmeta.record.open: " .. problem, 2)
  elseif max_memory ~= nil and not (type(max_memory) == "number" and max_memory > 0) then
    error("gdnmeta.record.open: " .. args.wrong("max_memory", max_memory, "a number of bytes above 0"), 2)
  end
  local json, message = format.json()
  if not json then return nil, message, EINVAL end
  local file
  file, message = io.open(path, "rb")
  if not file then return nil, foreign_text.message(message), EINVAL end
  local self = setmetatable({ path = path, file = file, json = json, buffer = "", at = 1, rest = 0,
                              number = 0, steps = 0 }, Reader)
  local value
  value, message = document(self)
  if value then
    self.header, message = headers.parse(value, max_memory or MAX_MEMORY)
    if not self.header then refuse(self, message) end
  elseif not message then
    refuse(self, self.rest > 0 and "cut in its header" or "empty, want a header")
  end
  if self.failed then
    self:close()
    return nil, self.failed, EINVAL
  end
  return self
end

return M
