-- Where a queue finds no memory, a request or a policy is refused by name and nothing is lost. In a process
-- of its own, whose core refuses allocations (build/libgdncounted.so).
local PROGRAM = [[
  local gdn, ffi = require "gdnmeta", require "ffi"
  local core = require "gdnmeta.native"
  ffi.cdef "void gdn_counted_fail(int64_t n);"
  local policy = ...
  local engine = assert(gdn.engine { policy = "fcfs", max_model_len = 99, on_policy_error = "raise",
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 64 }) })
  local function submit(id)
    return engine:submit { id = id, user = "u" .. id, prompt_tokens = 9, max_tokens = 2 }
  end
  local refused, reason, code = 0, nil, nil
  for n = 1, 99 do -- whichever allocation fails: the policy before stays
    core.gdn_counted_fail(n)
    local ok, message, status = engine:set_policy(policy)
    core.gdn_counted_fail(0)
    if ok then break end
    assert(engine.policy.name == "fcfs", engine.policy.name)
    refused, reason, code = refused + 1, message, status
  end
  print(refused > 0, reason, code)
  local taken, failed = {}, 0
  for id = 1, 700 do
    core.gdn_counted_fail(id % 3 + 1) -- nearly every time that there is something to grow
    local ok, message, status = submit(id)
    core.gdn_counted_fail(0)
    if ok then
      taken[#taken + 1] = id
    else
      failed, reason, code = failed + 1, message, status
      assert(engine:request(id) == nil)
      if failed % 2 == 0 then assert(submit(id)) taken[#taken + 1] = id end
    end
  end
  print(failed > 2, reason, code, engine.stats.waiting == #taken)
  local finished, now = {}, 0
  while not engine:idle() do
    core.gdn_counted_fail(1) -- no step needs memory for its queue
    local step = assert(engine:step(now))
    core.gdn_counted_fail(0)
    now = now + 1
    assert(engine:complete(step, now))
    for _, id in ipairs(step.finished) do finished[id] = true end
  end
  for _, id in ipairs(taken) do assert(finished[id], id) end
  print(#taken > 600, #engine:failures())
]]

describe("A queue without memory", function()
  for _, policy in ipairs { "priority", "fair", "shortest_prefill", "deadline" } do
    it("refuses by name and loses no request: " .. policy, function()
      local path = os.tmpname()
      local file = assert(io.open(path, "w"))
      file:write(PROGRAM)
      file:close()
      local line = "env -u LD_PRELOAD GDNMETA_LIB=build/libgdncounted.so luajit %s %s 2>&1"
      local pipe = io.popen(line:format(path, policy))
      local text = pipe:read "*a"
      pipe:close()
      os.remove(path)
      assert.are.equal("true\tno memory for a queue\t-2\ntrue\tno memory for a longer queue\t-2\ttrue\n"
                       .. "true\t0\n", text)
    end)
  end
end)
