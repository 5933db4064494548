-- The loop between an engine and a model: keeps each request's text, gathers a step's input in batch
-- order, checks drafts against the model's own choice, and reports. A server calls submit, step and
-- cancel; examples/tiny_model.lua is a model to try it with.
local sampling = require "examples.sampling"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"
local char = string.char

local Host = {}
Host.__index = Host

-- All at once, they would have to fit on Lua's stack.
local function bytes_of(text)
  local bytes = {}
  for n = 1, #text do bytes[n] = text:byte(n) end
  return bytes
end

local OURS = { prompt = true, on_bytes = true, stop = true, temperature = true, top_p = true,
               seed = true } -- the rest is engine:submit's

-- Texts as lists of bytes.
local function stops_of(stop)
  local stops = {}
  for n, text in ipairs(type(stop) == "table" and stop or { stop }) do
    if type(text) ~= "string" or text == "" then
      error("serving: stop: want strings that are not empty", 3)
    end
    stops[n] = bytes_of(text)
  end
  return stops
end

--- A request joins the queue: { id, prompt = string, max_tokens }, and if wanted stop, a string or a list of
--- strings, after each of which the answer ends; temperature (0: the likeliest byte), top_p and seed;
--- on_bytes(bytes, reason), called with what every step adds, where reason is nil or, the last time, "stop",
--- "length", "cancelled" or "rejected"; and what else engine:submit takes. With `salt` the prompt's tokens
--- are its identity for the engine's state cache, which then wants hash_block_size.
---@param request table
---@return table|nil record { id, output = string so far, reason = nil or as above, cached = tokens of the
--- prompt whose state was there, nil before the first step }
---@return string? message
---@return integer? code
function Host:submit(request)
  if type(request.prompt) ~= "string" or request.prompt == "" then
    error("serving: prompt: want a string that is not empty", 2)
  end
  local sampler = sampling.new(request.temperature, request.top_p, request.seed or 0)
  if sampler and not self.model.sample then
    error("serving: temperature: the model has no method sample, want 0", 2)
  end
  local given, stops = { prompt_tokens = #request.prompt }, stops_of(request.stop)
  for name, value in pairs(request) do
    if not OURS[name] then given[name] = value end
  end
  local tokens = bytes_of(request.prompt)
  if request.salt ~= nil then given.tokens = tokens end
  local ok, message, code = self.engine:submit(given)
  if not ok then return nil, message, code end
  local record = { id = request.id, tokens = tokens, prompt = #request.prompt, drafts = {},
                   output = "", stops = stops, sampler = sampler, on_bytes = request.on_bytes }
  self.records[request.id] = record
  return record
end

local function report(self, record, bytes, reason)
  record.output, record.reason = record.output .. bytes, reason
  if reason then self.records[record.id] = nil end
  if record.on_bytes then self.reports[#self.reports + 1] = { record, bytes, reason } end
end

-- Callbacks come last, in order, and may do whatever they like: submit, cancel, step, raise.
local function call_back(self)
  while self.reports[1] do
    local record, bytes, reason = unpack(table.remove(self.reports, 1), 1, 3)
    record.on_bytes(bytes, reason)
  end
end

--- Remove a request.
---@return boolean|nil ok nil when there is no such request
---@return string? message
---@return integer? code
function Host:cancel(id)
  local ok, message, code = self.engine:cancel(id)
  if not ok then return nil, message, code end
  report(self, self.records[id], "", "cancelled")
  call_back(self)
  return true
end

-- The step's input: known bytes, then drafts; zeros on padding. Where each row begins, and its request.
local function gather(self, step)
  local n, size = 0, step.metadata.num_actual_tokens
  if size > self.size then self.size, self.input = size, int32s(size) end
  for row = 0, step.num_rows - 1 do
    local record = self.records[step:id(row)]
    local tokens, drafts, computed = record.tokens, record.drafts, step.seq_len[row] - step.query_len[row]
    self.rows[row], self.first[row], record.cached = record, n, record.cached or computed
    for k = computed + 1, step.seq_len[row] do
      self.input[n] = tokens[k] or drafts[k - #tokens]
      n = n + 1
    end
  end
  for padding = n, size - 1 do self.input[padding] = 0 end
end

-- Does the answer so far end with one of its stop texts?
local function ends(record)
  local tokens = record.tokens
  for _, stop in ipairs(record.stops) do
    local from, n = #tokens - #stop, #stop
    while from >= record.prompt and n > 0 and tokens[from + n] == stop[n] do n = n - 1 end
    if n == 0 then return true end
  end
  return false
end

-- A row whose request knows all its input emits the next byte, and continues as long as the drafts match:
-- what comes after the last known byte is at `at`, what comes after n drafts at `at + n`.
local function verify(self, step, row, said)
  local record, drafts = self.rows[row], math.max(step.drafts[row], 0)
  local at, tokens = self.first[row] + step.query_len[row] - 1 - drafts, record.tokens
  record.known = #tokens
  while true do
    local n = #tokens - record.known
    local byte = record.sampler and self.model:sample(at + n, record.sampler, #tokens + 1 - record.prompt)
      or said[at + n]
    tokens[#tokens + 1] = byte
    step.accepted_drafts[row] = n
    if ends(record) then
      step.stop[row] = n + 1
      break
    end
    if n == drafts or record.drafts[n + 1] ~= byte then break end
  end
  record.drafts = self.draft(tokens, self.engine.num_spec)
  step.next_drafts[row] = #record.drafts
end

local REASONS = { "stop", "length" } -- of step.finish

local function finish_rows(self, step)
  for row = 0, step.num_rows - 1 do
    local record, n = self.rows[row], step.emitted[row]
    self.rows[row] = nil
    if n > 0 then
      local bytes = char(unpack(record.tokens, record.known + 1, record.known + n))
      report(self, record, bytes, REASONS[step.finish[row]])
    end
  end
end

--- Run one step.
---@param now number seconds
---@param clock function|nil returns the seconds when the model is done; without, a step takes no time
---@return boolean|nil busy false when no request is left; nil when the build was refused
---@return integer|string rows that ran, 0 when the policy holds every request; or the message
---@return integer? code
function Host:step(now, clock)
  local engine = self.engine
  local step, message, code = engine:step(now)
  if not step then return nil, message, code end
  for _, id in ipairs(step.rejected) do report(self, self.records[id], "", "rejected") end
  local rows = step.num_rows
  if rows > 0 then
    gather(self, step)
    local said = self.model:forward(step.metadata, self.input)
    for row = 0, rows - 1 do
      if step.samples[row] == 1 then verify(self, step, row, said) end
    end
    assert(engine:complete(step, clock and clock() or now))
    finish_rows(self, step)
  end
  call_back(self)
  return not engine:idle(), rows
end

local M = {}

--- Drafts by looking up: what followed the last time that the text stood at the same byte, best after the
--- same two.
---@param tokens table bytes, the whole text
---@param most integer
---@return table drafts a new list
function M.look_up(tokens, most)
  local n, found, drafts = #tokens, nil, {}
  for k = n - 1, 1, -1 do
    if tokens[k] == tokens[n] then
      found = found or k
      if tokens[k - 1] == tokens[n - 1] then
        found = k
        break
      end
    end
  end
  for k = 1, found and math.min(most, n - found) or 0 do drafts[k] = tokens[found + k] end
  return drafts
end

--- A host for one engine, which makes one step at a time, and its model, which may have a method sample
--- (examples/tiny_model.lua has one). draft(tokens, most) returns a new
--- list of at most `most` bytes; by default look_up.
---@param engine table gdnmeta.engine
---@param model table with forward(metadata, tokens)
---@param draft function|nil
---@return table host
function M.new(engine, model, draft)
  if engine.async then error("serving: want an engine that makes one step at a time", 2) end
  return setmetatable({ engine = engine, model = model, draft = draft or M.look_up, records = {},
                        reports = {}, rows = {}, first = {}, size = 0 }, Host)
end

return M
