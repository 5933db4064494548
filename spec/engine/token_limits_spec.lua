-- How many tokens a request may take, over a grid of requests and limits: against
-- spec/goldens/texts/token-limits.txt, a line for each set of limits and each request.
local drawer = require "spec.support.drawer"
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

-- A request, number 3, in an engine of drawn limits.
local function drawn(case)
  local draw = drawer(16807 * case + 37)
  local block = draw(5)
  local r = { prompt = { [3] = draw(12) }, known = {}, computed = {}, placeholders = { [3] = draw(3) - 1 },
              pending = { [3] = draw(3) - 1 }, max_tokens = { [3] = draw(6) }, state = { [3] = draw(6) - 1 } }
  r.known[3] = r.prompt[3] + draw(4) - 1
  r.computed[3] = draw(r.known[3] + 2) - 1
  local o = { max_model_len = draw(18), chunked = draw(4) > 1, threshold = draw(3) == 1 and draw(6) or 0,
              align = draw(2) == 1, block = block, num_spec = math.max(draw(4) - 2, 0),
              optimistic = draw(2) == 1 }
  if draw(3) == 1 then o.prefix = { cut_chunk = function(_, i, n) return i == 3 and n - n % 3 end } end
  return token_limits.new(r, o), o, r, draw
end

local function boundary(o, known) -- the last one that a chunk has to end on
  return math.max((math.floor(known / o.block) - (o.num_spec > 0 and 1 or 0)) * o.block, 0)
end

local function least_of(o, computed, known)
  if not o.chunked then return known - computed end
  local last = boundary(o, known)
  local is_cut = o.align and computed % o.block == 0 and computed < last
  return is_cut and math.min(o.block, last - computed) or 1
end

local function chunk_of(o, limit, computed, known, wanted, left)
  local rest = known - computed
  if not o.chunked then return wanted >= rest and left >= rest and rest or 0 end
  local n = math.min(rest, wanted, limit, left)
  if o.prefix then n = n - n % 3 end
  if n <= 0 then return 0, "budget" end
  local last = boundary(o, known)
  if not o.align or computed >= last then return n end
  if computed % o.block ~= 0 then return math.min(n, o.block - computed % o.block) end
  n = math.floor(math.min(n, last - computed) / o.block) * o.block
  return n, n == 0 and "align" or nil
end

describe("Limits of drawn requests", function()
  it("are those that their rules give", function()
    for case = 1, 4000 do
      local limits, o, r, draw = drawn(case)
      local where, known, computed, prompt = "case " .. case, r.known[3], r.computed[3], r.prompt[3]
      local is_decode = computed >= prompt and known + r.placeholders[3] - computed <= 1
      assert.are.equal(is_decode, limits:is_decode(3), where)
      local pending, most = r.pending[3], math.min(o.max_model_len, prompt + r.max_tokens[3])
      local may = pending == 0 or known + pending < most and (o.optimistic or r.placeholders[3] == pending)
      assert.are.equal(may, limits:may_run(3), where)
      local state = r.state[3]
      assert.are.equal((state == requests.RUNNING or state == requests.WAITING) and not is_decode,
                       limits:wants_text(3), where)
      local rows, waiting = draw(3) - 1, draw(3) - 1
      limits:begin({ [0] = 3, 3 }, rows, waiting)
      local others = waiting + (is_decode and 0 or rows)
      local limit = o.threshold > 0 and others > 1 and o.threshold or math.huge
      local wanted, left = draw(14), draw(14) - 1
      local n, why = limits:chunk(3, wanted, left)
      local want, reason = chunk_of(o, limit, computed, known, wanted, left)
      if known >= computed then
        assert.are.equal(want, n, where)
        if reason then assert.are.equal(reason, why, where) end
        assert.are.equal(least_of(o, computed, known), limits:least(3), where)
        local budget = draw(40)
        assert.are.equal(math.max(least_of(o, computed, known), math.min(known - computed,
          math.floor(budget / 8))), limits:share(3, budget), where)
      end
      local drafts = draw(5) - 1
      local got, short = limits:drafts(3, drafts, left)
      local room = math.min(drafts, o.max_model_len - 2 - computed)
      assert.are.same({ math.min(room, left - 1), left <= room and "budget" or "length" }, { got, short },
                      where)
    end
  end)

  it("are none before a step and where a prompt is alone again", function()
    local limits = token_limits.new({ computed = { 0 }, prompt = { 9 }, known = { 9 }, placeholders = { 0 } },
                                 { threshold = 3 })
    assert.are.equal(math.huge, limits.limit)
    limits:begin({ [0] = 1 }, 1, 1)
    assert.are.equal(3, limits.limit)
    limits:begin({ [0] = 1 }, 1, 0)
    assert.are.equal(math.huge, limits.limit)
  end)
end)
