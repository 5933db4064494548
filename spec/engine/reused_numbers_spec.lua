-- A request's number was another's before: whatever its columns still say makes no difference.
local cache_chaos = require "spec.support.cache_chaos"
local drawer = require "spec.support.drawer"
local ffi = require "ffi"
local texts = require "spec.support.step_texts"

-- What the engine keeps of a number that is nobody's; `seen` is of a proof before.
local KEPT = { state = true, epoch = true, table_row = true, sourced = true, kv_reserved_to = true,
               seen = true }

local function scribble(requests, i, value)
  for name, column in pairs(requests) do
    local is_column = type(column) == "cdata" and tostring(ffi.typeof(column)):find "%[%?%]"
    if is_column and not KEPT[name] then column[i] = value end
  end
end

-- What an engine does, as a list of lines; each number says `value` in all columns when it is taken.
local function play(case, value)
  local engine, o = cache_chaos.engine(drawer(48271 * case + 11), true)
  local requests, lines = engine.private.requests, {}
  local next_number = requests.next_number
  function requests.next_number(self)
    local i = next_number(self)
    if value then scribble(self, i, value) end
    return i
  end
  function o.note(said) lines[#lines + 1] = tostring(said) end
  function o.on_step(step) lines[#lines + 1] = texts.step(step, engine) end
  function o.on_done(step) lines[#lines + 1] = texts.done(step) end
  o.where, o.steps = "play " .. case, 40
  cache_chaos.play(engine, o)
  lines[#lines + 1] = texts.numbers(engine.stats)
  engine:close()
  return lines
end

describe("A number of a request", function()
  it("is as good as new", function()
    for case = 1, 8 do
      local want = play(case)
      for _, value in ipairs { 1, 77 } do
        local got = play(case, value)
        for n = 1, math.max(#want, #got) do
          assert.are.equal(want[n], got[n], ("play %d with %d, line %d"):format(case, value, n))
        end
      end
    end
  end)
end)
