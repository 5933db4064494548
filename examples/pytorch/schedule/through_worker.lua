-- Steps through gdn.worker, to examples/pytorch/worker.py in a process of its own. With kill=n its process is
-- killed while it has the n-th step.
local ffi = require "ffi"
local gdn = require "gdnmeta"

ffi.cdef [[
int gdn_schedule_poll(void *, unsigned long, int) __asm__("poll");
int gdn_schedule_kill(int, int) __asm__("kill");
]]
local KILL, PAUSE = 9, 1 -- a signal; milliseconds between two looks

local Through = {}
Through.__index = Through

-- Tokens in row order, and how they are chosen.
local function fill(worker, step, of_row)
  local t = 0
  for row = 0, step.num_rows - 1 do
    local r = of_row[row]
    worker.temperature[row], worker.top_p[row], worker.seed[row] = r.temperature, r.top_p, r.seed
    for k = step.seq_len[row] - step.query_len[row] + 1, step.seq_len[row] do
      worker.tokens[t], t = r.tokens[k] or r.drafts[k - #r.tokens] or 2, t + 1
    end
  end
end

--- Run a step, and wait for it.
---@param step table gdnmeta.Step
---@param of_row table requests by row
---@return table|nil said lists of tokens by row; nil: the worker was killed, and another is there
function Through:run(step, of_row)
  local worker = self.worker
  fill(worker, step, of_row)
  assert(worker:submit(step))
  self.steps = self.steps + 1
  if self.steps == self.kill then ffi.C.gdn_schedule_kill(worker.pid, KILL) end
  while true do
    local result, message, code = worker:poll()
    if result then
      local said, at = {}, 0
      for row = 0, step.num_rows - 1 do
        local list = {}
        for k = 1, result.emitted[row] do list[k], at = result.tokens[at], at + 1 end
        said[row] = list
      end
      return said
    elseif code == "dead" and self.steps == self.kill then
      assert(worker:restart())
      return nil
    end
    assert(not message, message)
    ffi.C.gdn_schedule_poll(nil, 0, PAUSE)
  end
end

--- The worker leaves. Texts go to the other side at once.
---@param requests table
function Through:close(requests)
  self.worker:close(10)
  for number, r in ipairs(requests) do
    io.stdout:write(("text %d %s\n"):format(number, table.concat(r.tokens, " ", r.prompt + 1)))
  end
end

local M = {}

---@param engine table gdnmeta.Engine
---@param options table of schedule.lua: worker (a Python), random, root, kill
---@return table through
function M.new(engine, options)
  local command = { options.worker, "examples/pytorch/worker.py", "--random", options.random,
                    "--root", options.root, "--device", options.device,
                    "--dtype", options.dtype }
  local worker = assert(gdn.worker { engine = engine, command = command, deadline = 120,
                                     start_deadline = 300 })
  return setmetatable({ worker = worker, kill = options.kill, steps = 0 }, Through)
end

return M
