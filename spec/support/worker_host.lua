-- A host of an engine and its worker: texts as bytes, drafts by looking up, steps sent and polled for.
local gdn = require "gdnmeta"
local libc = require "gdnmeta.native.libc"
local serving = require "examples.serving"

local M = { COMMAND = { "luajit", "examples/worker.lua" } }
local Host = {}
Host.__index = Host

--- Variables with which a program finds this tree's modules and library, without the checker of this process.
M.ENVIRONMENT = {
  LUA_PATH = "./lua/?.lua;./lua/?/init.lua;./?.lua;;", LUA_CPATH = "./build/?.so;;",
  LD_PRELOAD = "", GDNMETA_LIB = "./build/libgdnmeta.so",
}

function M.engine(builder, engine)
  local b = { device = "cpu", max_num_seqs = 3, max_num_batched_tokens = 24, num_groups = 3,
              num_speculative_tokens = 2 }
  local e = { policy = "decode_first", max_model_len = 256 }
  for name, value in pairs(builder or {}) do b[name] = value end
  for name, value in pairs(engine or {}) do e[name] = value end
  e.builder = assert(gdn.builder(b))
  if e.async then e.second_builder = assert(gdn.builder(b)) end
  return assert(gdn.engine(e))
end

--- A host. options: of gdn.worker. Its field clock may be set, instead of the worker's own clock: a function
--- that gives seconds, for a step that is sent (true) or for a look at what came.
function M.new(engine, options)
  local o = { engine = engine, seed = 7, environment = M.ENVIRONMENT }
  for name, value in pairs(options or {}) do o[name] = value end
  local worker, message, code = gdn.worker(o)
  if not worker then return nil, message, code end
  return setmetatable({ engine = engine, worker = worker, records = {}, now = 0, results = 0 }, Host)
end

--- sampled: { temperature, top_p, seed }
function Host:submit(id, prompt, max_tokens, sampled)
  assert(self.engine:submit { id = id, prompt_tokens = #prompt, max_tokens = max_tokens })
  local record = { id = id, tokens = { prompt:byte(1, -1) }, prompt = #prompt, drafts = {},
                   sampled = sampled }
  self.records[id] = record
  return record
end

local function gather(self, step)
  local worker, t = self.worker, 0
  for row = 0, step.num_rows - 1 do
    local record = self.records[step:id(row)]
    local tokens, sampled = record.tokens, record.sampled or {}
    worker.temperature[row], worker.top_p[row] = sampled[1] or 0, sampled[2] or 1
    worker.seed[row] = sampled[3] or 0
    for k = step.seq_len[row] - step.query_len[row] + 1, step.seq_len[row] do
      worker.tokens[t], t = tokens[k] or record.drafts[k - #tokens] or -1, t + 1
    end
  end
end

local function take(self, result)
  local step, t = result.step, 0
  self.results = self.results + 1
  for row = 0, step.num_rows - 1 do
    local record = self.records[step:id(row)]
    record.new = {}
    for k = 1, result.emitted[row] do record.new[k] = result.tokens[t + k - 1] end
    t = t + result.emitted[row]
    if step.samples[row] == 1 then
      local text = { unpack(record.tokens) }
      for _, token in ipairs(record.new) do text[#text + 1] = token end
      record.drafts = self.engine.num_spec > 0 and serving.look_up(text, self.engine.num_spec) or {}
      step.next_drafts[row] = #record.drafts
    end
  end
  assert(self.engine:complete(step, self.now))
  for row = 0, step.num_rows - 1 do
    local record = self.records[step:id(row)]
    for k = 1, step.emitted[row] do record.tokens[#record.tokens + 1] = record.new[k] end
    if step.finish[row] > 0 then record.is_done = true end
  end
end

--- Plan a step and send it. Returns the step, false when nothing runs; or nil, message, code.
function Host:send()
  self.now = self.now + 1
  local step = assert(self.engine:step(self.now))
  if step.num_rows == 0 then return false end
  gather(self, step)
  local ok, message, code = self.worker:submit(step, nil, nil, self.clock and self.clock(true))
  if not ok then return nil, message, code end
  return step
end

--- The next result, waited for. Returns true; or nil, message, code.
function Host:receive()
  for _ = 1, 20000 do
    local result, message, code = self.worker:poll(self.clock and self.clock())
    if result then
      take(self, result)
      return true
    elseif code then
      return nil, message, code
    end
    libc.libc_poll(nil, 0, 1)
  end
  error "no result and no failure within 20 s"
end

--- To the end. Returns true; or nil, message, code of a worker that failed. before(host) is called before
--- every step.
function Host:run(before)
  while not self.engine:idle() do
    if before then before(self) end
    local step, message, code = self:send()
    if step == nil then return nil, message, code end
    if step then
      local ok
      ok, message, code = self:receive()
      if not ok then return nil, message, code end
    end
  end
  return true
end

--- The answer so far.
function Host:said(id)
  local record, bytes = self.records[id], {}
  for k = record.prompt + 1, #record.tokens do bytes[#bytes + 1] = string.char(record.tokens[k]) end
  return table.concat(bytes)
end

function Host:close()
  self.worker:close()
  self.engine:close()
end

return M
