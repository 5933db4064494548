-- Servers of one-second steps, for specs about the order of waiting requests.
local serve = require "spec.support.run_engine"

local M = {}

--- first[id]: steps from its submission to its first token.
function M.server(policy, options, of_builder)
  local self = { engine = serve.engine(policy, options, of_builder), now = 0, born = {}, first = {} }

  function self.submit(id, fields)
    local request = serve.request(id, fields)
    request.arrival = fields and fields.arrival or self.now
    assert(self.engine:submit(request))
    self.born[id] = self.now
  end

  function self.step()
    local step = assert(self.engine:step(self.now))
    self.now = self.now + 1
    assert(self.engine:complete(step, self.now))
    for row = 0, step.num_rows - 1 do
      local id = step:id(row)
      if step.emitted[row] > 0 and not self.first[id] then self.first[id] = self.now - self.born[id] end
    end
    return step
  end

  function self.run(steps)
    local last
    for _ = 1, steps do last = self.step() end
    return last
  end

  function self.close()
    local failures = self.engine:failures()
    self.engine:close()
    if failures[1] then error(failures[1].hook .. ": " .. failures[1].message, 2) end
  end
  return self
end

return M
