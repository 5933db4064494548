-- Files of recordings for the specs: a small engine that is recorded, and what stands in a file.
local gdn = require "gdnmeta"

local M = {}

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

function M.lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

--- Steps of a file, what it lacks, and why it was refused.
function M.walk(path, use, on_empty)
  local reader, message = gdn.record.open(path)
  if not reader then return nil, nil, message end
  reader.on_empty = on_empty
  local n = 0
  while true do
    local step
    step, message = reader:next()
    if not step then break end
    n = n + 1
    if use then use(step, reader) end
  end
  reader:close()
  return n, reader.missing, message
end

function M.engine(options, builder)
  local b = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, num_groups = 2 }
  for name, value in pairs(builder or {}) do b[name] = value end
  local e = { policy = "fcfs", max_model_len = 200 }
  for name, value in pairs(options or {}) do e[name] = value end
  e.builder = assert(gdn.builder(b))
  return assert(gdn.engine(e))
end

function M.serve(e, steps, from)
  for now = from or 1, (from or 1) + steps - 1 do
    e:submit { id = now, prompt_tokens = 10, max_tokens = 4 }
    local step = assert(e:step(now))
    assert(e:complete(step, now + 0.5))
  end
end

--- n steps of a small engine, closed.
function M.short(path, n)
  local e = M.engine()
  local recording = assert(e:record(path))
  M.serve(e, n)
  assert(recording:close())
  e:close()
  return recording
end

return M
