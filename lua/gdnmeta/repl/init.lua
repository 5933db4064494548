-- A prompt with an engine to play with. `=value` shows a value, a bare expression does too; what is no whole
-- statement yet goes on in the next line; an error is a message, and the prompt comes again.
local gdn = require "gdnmeta"
local drawing = require "gdnmeta.metadata.draw"
local explain = require "gdnmeta.repl.explain"
local input = require "gdnmeta.repl.input"
local colors = require "gdnmeta.metadata.colors"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local sample_engine = require "gdnmeta.repl.sample_engine"
local show = require "gdnmeta.repl.show"

local HELP = [[
  =value                       show a value: meta, batch, engine, a tensor, a table ...
  step()  step(10)             run the engine on, one step or several, in virtual time
  explain(meta)                every field of the step
  explain(meta, "chunk_offsets")   what a field is, who reads it, what it says in this step
  engine  builder  batch  meta     the sample engine, its builder, its last batch and metadata
  =other.cache                 the tree of a state cache, of an engine of yours with hash_block_size
  gdn                          the library: gdn.builder, gdn.engine, gdn.policy, gdn.reorder, gdn.sim ...
  exit                         leave; so does the end of the input
A batch of your own:
  mine = builder:batch()
  mine:add { query_len = 5, seq_len = 5, blocks = { 1, 2, 3 } }
  =builder:build(mine)]]

local M = {}

local function list_of(title, list)
  if #list == 0 then return nil end
  local words = {}
  for i, id in ipairs(list) do words[i] = tostring(id) end
  return title .. " " .. table.concat(words, ", ")
end

-- One step: its time, and the requests that started and ended.
local function news(self, step)
  local parts = {}
  local LISTS = { { "admits", "admitted" }, { "preempts", "preempted" }, { "finishes", "finished" } }
  for _, pair in ipairs(LISTS) do
    parts[#parts + 1] = list_of(pair[1], step[pair[2]])
  end
  local head = ("step %d at %.1f ms, takes %.1f ms, graph %s"):format(step.number, 1000 * self.sample.started,
    1000 * (self.sample.now - self.sample.started), step.graph)
  return #parts == 0 and head or head .. ": " .. table.concat(parts, "; ")
end

-- The step's rows with their requests.
local function draw(self, step)
  self.out(drawing.step(step.metadata, self.paint))
  self.out((draw_rows.draw(step.metadata, self.paint, step.ids)))
end

local function advance(self, n)
  if n == nil then n = 1 end
  if type(n) ~= "number" or n % 1 ~= 0 or n < 1 then error("step(n): want how many steps, at least 1", 0) end
  for _ = 1, n do
    local step = self.sample:step()
    self.env.batch, self.env.meta = step.batch, step.metadata
    self.out(news(self, step))
    if n == 1 then draw(self, step) end
  end
end

local function explain_field(self, meta, name)
  if type(meta) == "string" and name == nil then meta, name = self.env.meta, meta end
  if type(meta) ~= "table" or not rawget(meta, "struct") then
    error("explain(meta, name): want the metadata of a build", 0)
  end
  if name == nil then return self.out(explain.list(meta)) end
  local text, message = explain.field(meta, name)
  if not text then error(message, 0) end
  self.out(text)
end

-- A value as text. Its metamethods are a program's, and may raise, too.
local function text_of(value, paint)
  local ok, text = pcall(show.text, value, paint)
  if ok then return text end
  return ("a %s that cannot be shown%s"):format(type(value), type(text) == "string" and ": " .. text or "")
end

-- An error as people read it: without a place in the source. A program may raise anything.
local function plain(err)
  if type(err) ~= "string" then return text_of(err, colors.plain) end
  return (err:gsub("^[^:\n]*:%d+: ", ""))
end

local function results(self, ok, ...)
  if not ok then return self.err(plain((...))) end
  local n = select("#", ...)
  if n == 0 then return end
  local texts = {}
  for i = 1, n do texts[i] = text_of((select(i, ...)), self.paint) end
  self.out(table.concat(texts, "\t"))
end

local function done(self, ...)
  self.interrupts(false)
  return ...
end

-- A chunk: of an expression, else of statements; nil, "more" where it is not whole yet.
local function compile(text)
  local expression = text:match "^%s*=(.*)$"
  local chunk = loadstring("return " .. (expression or text), "=prompt")
  if chunk then return chunk end
  local message
  chunk, message = loadstring(expression and "return " .. expression or text, "=prompt")
  if chunk then return chunk end
  if message:find "near '<eof>'" then return nil, "more" end
  return nil, message
end

--- Take one line.
---@param line string
---@return string|nil what "more": the statement goes on; "exit": leave
function M.take(self, line)
  local text = self.pending and self.pending .. "\n" .. line or line
  self.pending = nil
  if text:find "^%s*$" then return nil end
  if text:find "^%s*exit%s*$" or text:find "^%s*quit%s*$" then return "exit" end
  local chunk, message = compile(text)
  if message == "more" and line ~= "" then
    self.pending = text
    return "more"
  elseif not chunk then
    self.err(plain(message == "more" and "the statement is not whole" or message))
    return nil
  end
  setfenv(chunk, self.env)
  jit.off(chunk, true) -- compiled code is not interrupted
  self.interrupts(true)
  results(self, done(self, pcall(chunk)))
end

--- A session: what the prompt knows, and where it writes.
---@param paint function see colors.lua
---@param out function takes a text
---@param err function takes a message
---@return table session
function M.new(paint, out, err)
  local self = {
    paint = paint, out = out, err = err, sample = sample_engine.new(), interrupts = function() end,
  }
  local env = { gdn = gdn, engine = self.sample.engine, builder = self.sample.builder }
  setmetatable(env, { __index = _G })
  self.env = env
  function env.step(n) advance(self, n) end
  function env.explain(meta, name) explain_field(self, meta, name) end
  env.help = setmetatable({}, { __call = function() out(HELP) end, __tostring = function() return HELP end })
  local step = self.sample:step()
  env.batch, env.meta = step.batch, step.metadata
  return self
end

--- Read lines until they end.
function M.run(self)
  local lines = input.open(self.env)
  if lines.interactive then
    self.interrupts = input.interrupts()
    self.out(("gdnmeta %s on %s. help() says what is here, exit leaves."):format(gdn._VERSION, jit.version))
  end
  local prompt = "gdn> "
  while true do
    local line = lines.line(prompt)
    if not line then
      if lines.interactive then self.out "" end -- the shell's prompt begins a line of its own
      if self.pending then self.err "the statement is not whole" end
      break
    end
    local what = M.take(self, line)
    if what == "exit" then break end
    prompt = what == "more" and "...> " or "gdn> "
  end
  lines.close()
  self.interrupts(true)
end

return M
