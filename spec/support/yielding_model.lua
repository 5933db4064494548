-- A model for examples/nginx that first runs an engine of its own whose hooks yield to nginx, and logs what
-- came of it. Then it is the cycle model.
-- luacheck: read globals ngx
local gdn = require "gdnmeta"
local cycle = require "spec.support.cycle_model"

local yields = {
  key = function() ngx.sleep(0.001) return 0 end,
  admit = function() coroutine.yield() return true end,
  on_emit = function() ngx.sleep(0.001) end,
}

local function try(hook)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 32 })
  local engine = assert(gdn.engine {
    builder = builder, max_model_len = 64,
    policy = { key = hook == "key" and yields.key or function() return 0 end, [hook] = yields[hook] },
    stopwatch = hook == "key" and function() ngx.sleep(0.001) return 0 end or nil,
  })
  assert(engine:submit { id = 1, prompt_tokens = 4, max_tokens = 2 })
  for now = 1, 9 do
    if engine:idle() then break end
    assert(engine:complete(assert(engine:step(now)), now))
  end
  local failure = engine:failures()[1]
  ngx.log(ngx.WARN, "trial of ", hook, ": idle ", engine:idle(), ", ", failure and failure.hook, ": ",
    failure and failure.message)
  engine:close()
end

local tried = false
local Model = {}
Model.__index = Model

function Model:forward(metadata, tokens)
  if not tried then
    tried = true
    for hook in pairs(yields) do try(hook) end
  end
  return self.cycle:forward(metadata, tokens)
end

return { new = function() return setmetatable({ cycle = cycle.new() }, Model) end }
