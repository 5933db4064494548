-- The loop between an engine and a model: keeps each request's text, gathers a step's input in batch
-- order, takes the tokens that the model chose, and reports. A server calls submit, step and
-- cancel; examples/tiny_model.lua is a model to try it with. A model in another process runs steps between
-- begin() and poll(): neither of them waits.
local new_answer = require("examples.answer").new
local array_of = require "gdnmeta.array_of"
local in_process = require "examples.in_process"

local int32s = array_of "int32_t"

local Host = {}
Host.__index = Host

-- All at once, they would have to fit on Lua's stack.
local function tokens_of(prompt)
  local tokens = {}
  for n = 1, #prompt do tokens[n] = type(prompt) == "string" and prompt:byte(n) or prompt[n] end
  return tokens
end

local OURS = { prompt = true, on_bytes = true, stop = true, temperature = true, top_p = true,
               seed = true } -- the rest is engine:submit's

local function stops_of(stop)
  local stops = type(stop) == "table" and stop or { stop }
  for _, text in ipairs(stops) do
    if type(text) ~= "string" or text == "" then
      error("serving: stop: want strings that are not empty", 3)
    end
  end
  return stops
end

--- A request joins the queue: { id, prompt = string or a list of tokens, max_tokens }, and if wanted stop, a
--- string or a list of strings, after each of which the answer ends; temperature (0: the likeliest token),
--- top_p and seed; on_bytes(bytes, reason, tokens), called with what every step adds, where reason is nil or,
--- the last time, "stop", "length", "cancelled", "rejected" or "failed"; and what else engine:submit takes.
--- With `salt` the tokens are the request's identity for the engine's state cache, which then wants
--- hash_block_size.
---@param request table
---@return table|nil record { id, output = string so far, reason = nil or as above, cached = tokens of the
--- prompt whose state was there, nil before the first step }
---@return string? message
---@return integer? code
function Host:submit(request)
  local prompt = request.prompt
  if type(prompt) ~= "string" and type(prompt) ~= "table" or #prompt == 0 then
    error("serving: prompt: want a string or a list of tokens that is not empty", 2)
  end
  local sampling = { temperature = request.temperature or 0, top_p = request.top_p or 1,
                     seed = request.seed or 0 }
  if sampling.temperature > 0 and not self.worker.samples then
    error("serving: temperature: the model has no method sample, want 0", 2)
  end
  local given, stops = { prompt_tokens = #prompt }, stops_of(request.stop)
  for name, value in pairs(request) do
    if not OURS[name] then given[name] = value end
  end
  local tokens = tokens_of(prompt)
  if request.salt ~= nil then given.tokens = tokens end
  local ok, message, code = self.engine:submit(given)
  if not ok then return nil, message, code end
  local record = { id = request.id, tokens = tokens, prompt = #prompt, drafts = {}, output = "", losses = 0,
                   answer = new_answer(stops, self.vocabulary), sampling = sampling,
                   on_bytes = request.on_bytes }
  self.records[request.id] = record
  return record
end

local function report(self, record, bytes, reason, tokens)
  record.output, record.reason = record.output .. bytes, reason
  if reason then self.records[record.id] = nil end
  if record.on_bytes then self.reports[#self.reports + 1] = { record, bytes, reason, tokens or 0 } end
end

-- Callbacks come last, in order, and may do whatever they like: submit, cancel, step, raise.
local function call_back(self)
  while self.reports[1] do
    local record, bytes, reason, tokens = unpack(table.remove(self.reports, 1), 1, 4)
    record.on_bytes(bytes, reason, tokens)
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

-- The step's input: known tokens, then drafts; zeros on padding. The request of each row.
local function gather(self, step)
  local n, size = 0, step.metadata.num_actual_tokens
  if size > self.size then self.size, self.input = size, int32s(size) end
  for row = 0, step.num_rows - 1 do
    local record = self.records[step:id(row)]
    local tokens, drafts, computed = record.tokens, record.drafts, step.seq_len[row] - step.query_len[row]
    self.rows[row], record.cached = record, record.cached or computed
    for k = computed + 1, step.seq_len[row] do
      self.input[n] = tokens[k] or drafts[k - #tokens]
      n = n + 1
    end
  end
  for padding = n, size - 1 do self.input[padding] = 0 end
end

-- The tokens that a row emits join its request's text, up to the one after which the answer ends.
local function take(self, row, said, drafts)
  local record, stop = self.rows[row], nil
  record.known = #record.tokens
  for k, token in ipairs(said) do
    record.tokens[record.known + k] = token
    if record.answer:add(token) then
      stop = k
      break
    end
  end
  local tokens = {}
  for k = 1, stop or #said do tokens[k] = said[k] end
  record.drafts = drafts or self.draft(record.tokens, self.engine.num_spec)
  return { tokens = tokens, stop = stop, next_drafts = #record.drafts }
end

local REASONS = { "stop", "length" } -- of step.finish

local function finish_rows(self, step)
  for row = 0, step.num_rows - 1 do
    local record, n = self.rows[row], step.emitted[row]
    self.rows[row] = nil
    if n > 0 then report(self, record, record.answer:take(n), REASONS[step.finish[row]], n) end
  end
end

--- Plan a step, and hand it to the model.
---@param now number seconds
---@return integer|nil rows that run, 0 when the policy holds every request; nil: the build was refused
---@return string? message
---@return integer? code
function Host:begin(now)
  local step, message, code = self.engine:step(now)
  if not step then return nil, message, code end
  for _, id in ipairs(step.rejected) do report(self, self.records[id], "", "rejected") end
  if step.num_rows > 0 then
    gather(self, step)
    self.flying = step
    self.worker:submit(step, self.input, self.rows)
  end
  if step.num_rows == 0 then call_back(self) end -- else when the step has run
  return step.num_rows
end

--- Take the results of the step that was begun, if they are there.
---@param now number|function seconds, or what returns them
---@return boolean|nil done false: not yet; nil: the model's process cannot go on, lost() is to be called
---@return string? message
---@return string? code "dead", "hung", "version" or "corrupt"
function Host:poll(now)
  local step = self.flying
  local said, message, code = self.worker:poll()
  if not said then
    if message then return nil, message, code end
    return false
  end
  local results = {}
  for row = 0, step.num_rows - 1 do
    if step.samples[row] == 1 then
      results[step:id(row)] = take(self, row, said.tokens[row], said.drafts and said.drafts[row])
    end
  end
  self.flying = false
  assert(self.engine:complete(step, type(now) == "number" and now or now(), results))
  finish_rows(self, step)
  call_back(self)
  return true
end

--- Run one step of a model that is in this process.
---@param now number seconds
---@param clock function|nil returns the seconds when the model is done; without, a step takes no time
---@return boolean|nil busy false when no request is left; nil when the build was refused
---@return integer|string rows that ran, 0 when the policy holds every request; or the message
---@return integer? code
function Host:step(now, clock)
  local rows, message, code = self:begin(now)
  if not rows then return nil, message, code end
  if rows > 0 then assert(self:poll(clock or now), "serving: step: want a model in this process") end
  return not self.engine:idle(), rows
end

--- The model's process has died with all states, and the engine knows. Requests that ran are computed again,
--- or end with the reason "failed".
---@param ids any[] of the requests that ran, as engine:lose_states() says
---@param most integer how many such deaths a request survives; 0: none
---@return integer failed
function Host:lost(ids, most)
  local failed = 0
  self.flying = false
  for row in pairs(self.rows) do self.rows[row] = nil end
  for _, id in ipairs(ids) do
    local record = self.records[id]
    record.losses, record.drafts = record.losses + 1, {}
    if record.losses > most then
      failed = failed + 1
      assert(self.engine:cancel(id))
      report(self, record, "", "failed")
    end
  end
  call_back(self)
  return failed
end

local M = {}

--- Drafts by looking up: what followed the last time that the text stood at the same token, best after the
--- same two.
---@param tokens table the whole text
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
--- list of at most `most` tokens; by default look_up.
---@param engine table gdnmeta.engine
---@param model table with forward(metadata, tokens)
---@param draft function|nil
---@return table host
function M.new(engine, model, draft)
  local host = M.over(engine, nil, nil, draft)
  host.model = model
  host.worker = in_process.new(host)
  return host
end

--- The same for a model elsewhere: submit(step, tokens, records by row) begins a step, poll() returns
--- { tokens = lists by row, drafts = lists by row or nil } once it has run; samples: it does so.
---@param engine table
---@param worker table
---@param vocabulary table|nil { bytes = by token, ends = set of tokens that end an answer }; nil: of bytes
---@param draft function|nil
---@return table host
function M.over(engine, worker, vocabulary, draft)
  if engine.async then error("serving: want an engine that makes one step at a time", 3) end
  return setmetatable({ engine = engine, worker = worker, vocabulary = vocabulary, draft = draft or M.look_up,
                        records = {}, reports = {}, rows = {}, size = 0, flying = false }, Host)
end

return M
