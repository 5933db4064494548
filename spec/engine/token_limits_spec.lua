-- How many tokens a request may take, over a grid of requests and limits: against
-- spec/goldens/texts/token-limits.txt, a line for each set of limits and each request.
local golden = require "spec.support.golden"
local requests = require "gdnmeta.engine.requests"
local token_limits = require "gdnmeta.engine.decide.token_limits"

-- Columns of one request, number 0.
local function columns(prompt, known, computed, pending, placeholders)
  local r = { prompt = prompt, known = known, computed = computed, pending = pending,
              placeholders = placeholders, max_tokens = 9, state = requests.RUNNING }
  for name, value in pairs(r) do r[name] = { [0] = value } end
  return r
end

local REQUESTS = {
  { 20, 20, 0, 0, 0 }, { 20, 20, 8, 0, 0 }, { 20, 20, 15, 0, 0 }, { 20, 20, 16, 0, 0 }, { 20, 20, 19, 0, 0 },
  { 20, 20, 20, 1, 1 }, { 20, 21, 20, 0, 0 }, { 20, 24, 23, 2, 1 }, { 20, 24, 23, 5, 5 }, { 20, 24, 0, 0, 0 },
  { 20, 27, 26, 2, 2 }, { 400, 400, 0, 0, 0 }, { 400, 400, 399, 0, 0 }, { 5, 5, 0, 0, 0 }, { 8, 8, 0, 0, 0 },
  { 20, 28, 27, 0, 0 }, { 20, 28, 27, 1, 1 }, { 24, 24, 16, 0, 0 },
}

local LIMITS = {
  { max_model_len = 500, chunked = true, threshold = 0, align = false, block = 1, num_spec = 0,
    optimistic = true },
  { max_model_len = 30, chunked = true, threshold = 7, align = false, block = 1, num_spec = 3 },
  { max_model_len = 29, chunked = true, threshold = 7, align = true, block = 8, num_spec = 0,
    optimistic = true },
  { max_model_len = 28, chunked = true, threshold = 0, align = true, block = 8, num_spec = 3,
    optimistic = false },
  { max_model_len = 500, chunked = false, threshold = 0, align = false, block = 1, num_spec = 1 },
}

local function words(...)
  local list = {}
  for k = 1, select("#", ...) do list[k] = tostring((select(k, ...))) end
  return table.concat(list, " ")
end

describe("Limits of tokens #lua", function()
  it("are what they were", function()
    local lines = {}
    for l, limits in ipairs(LIMITS) do
      for _, request in ipairs(REQUESTS) do
        local copy = {}
        for name, value in pairs(limits) do copy[name] = value end
        local sizing = token_limits.new(columns(unpack(request)), copy)
        local parts = { words(sizing:is_decode(0), sizing:may_run(0), sizing:wants_text(0), sizing:least(0)) }
        for _, budget in ipairs { 0, 7, 8, 64, 128, 4096 } do parts[#parts + 1] = sizing:share(0, budget) end
        for _, left in ipairs { 0, 1, 3, 9, 500 } do
          for _, drafts in ipairs { 0, 1, 3 } do parts[#parts + 1] = words(sizing:drafts(0, drafts, left)) end
        end
        for others = 0, 1 do
          sizing:begin({ [0] = 0 }, 1, others)
          for _, left in ipairs { 0, 1, 7, 8, 9, 20, 24, 500 } do
            for _, wanted in ipairs { 0, 5, 500 } do
              parts[#parts + 1] = words(sizing:chunk(0, wanted, left))
            end
          end
        end
        lines[#lines + 1] = ("%d {%s} %s"):format(l, table.concat(request, ","), table.concat(parts, ", "))
      end
    end
    golden("token-limits", table.concat(lines, "\n") .. "\n")
  end)
end)
