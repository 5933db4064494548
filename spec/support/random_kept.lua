-- Places for states that random requests leave before the end of a chunk, and requests of the same text that
-- begin with them. Random traffic asks it before and after each submit, and when a step is complete.
local M = {}

local random = math.random

local Kept = {}
Kept.__index = Kept

--- Now and then a request is to fill a place.
function Kept:offer(given, request)
  if given.checkpoint or request.prompt_tokens < 3 or #self.places > 2 or random() < 0.3 then return end
  local tokens = random(request.prompt_tokens - 2)
  if tokens > 64 and random() < 0.5 then tokens = 64 * random(math.floor(tokens / 64)) end
  local place = self.engine:receive(tokens)
  if not place then return end
  given.keep = place
  self.places[#self.places + 1] = { place = place, request = request }
end

--- The engine refused it.
function Kept:take_back(given)
  if given.keep then self.engine:release(table.remove(self.places).place) end
end

local function find(self, place)
  for n, entry in ipairs(self.places) do
    if entry.place == place then return table.remove(self.places, n) end
  end
  error "a step left a state in a place of nobody"
end

--- Requests that begin with what a complete step has left: submit(request, given) for each.
function Kept:begin(step, most, submit)
  for _, place in ipairs(step.kept) do
    local entry, other = find(self, place), {}
    for name, value in pairs(entry.request) do other[name] = value end
    self.filled, other.id = self.filled + 1, 200000 + self.filled
    submit(other, { id = other.id, prompt_tokens = random(place.tokens + 1, most), max_tokens = random(30),
                    computed = place.tokens, slot = place })
    self.engine:release(place)
  end
end

function Kept:close()
  for _, entry in ipairs(self.places) do self.engine:release(entry.place) end
end

function M.new(engine) return setmetatable({ engine = engine, places = {}, filled = 0 }, Kept) end

return M
