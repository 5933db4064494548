-- Random traces in every public format and dialect are read back as they were written; damaged ones are
-- requests or a message with a line, and never an error.
local check = dofile "fuzz/trace.lua"
local random_trace = require "spec.support.random_trace"
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local function generator(seed)
  local draw = workload.random(seed)
  return function(n) return math.floor(draw() * n) + 1 end
end

local function plain(requests)
  local place, list = {}, {}
  for i, r in ipairs(requests) do place[r] = i end
  for i, r in ipairs(requests) do
    local copy = {}
    for key, value in pairs(r) do copy[key] = key == "after" and place[value] or value end
    copy.line, copy.think, copy.blocks = nil, nil, nil -- blocks: trace_identity_spec
    list[i] = copy
  end
  return list
end

local EDITS = {
  function(text, at, random) return text:sub(1, at - 1) .. text:sub(at + random(8)) end,
  function(text, at) return text:sub(1, at) end,
  function(text, at, random) return text:sub(1, at - 1) .. string.char(random(256) - 1)
    .. text:sub(at + 1) end,
  function(text, at, random)
    local words = { '"', "\n", "\r", ",", "\0", "-", "9999999999", "nan", '"\n', "{", "}", "[", "\27[2J",
      "0x1", "\255" }
    return text:sub(1, at) .. words[random(#words)] .. text:sub(at + 1)
  end,
  function(text, at, random) return text:sub(1, at) .. text:sub(math.max(1, at - random(60))) end,
  function(text, at, random)
    local from = random(#text)
    return text:sub(1, at) .. text:sub(from, from + random(40)) .. text:sub(at + 1)
  end,
}

describe("A random trace #lua", function()
  for _, format in ipairs(random_trace.FORMATS) do
    it("of the format " .. format .. " is read back as it was written", function()
      for seed = 1, 100 do
        local text, rows = random_trace.new(generator(seed), format)
        local where = ("%s, seed %d:\n%s"):format(format, seed, text)
        local wanted, skipped = random_trace.wanted(rows, format)
        local requests, message = trace.parse(text, "t")
        if #wanted == 0 then
          assert.is_nil(requests, where)
        else
          assert.is_truthy(requests, ("%s\n%s"):format(message, where))
          assert.are.equal(format, requests.format, where)
          assert.are.same(wanted, plain(requests), where)
          assert.are.same({ skipped, #rows }, { requests.skipped, requests.rows }, where)
        end
      end
    end)

    it("of the format " .. format .. " is judged when it is damaged", function()
      local refused, read = 0, 0
      for seed = 1, 150 do
        local random = generator(1000 + seed)
        local text = random_trace.new(random, format)
        for _ = 1, random(4) do
          if #text > 1 then text = EDITS[random(#EDITS)](text, random(#text), random) end
        end
        local ok, message = pcall(check, text)
        assert.is_true(ok, ("%s, seed %d: %s\n%q"):format(format, seed, tostring(message), text))
        if trace.parse(text, "t") then read = read + 1 else refused = refused + 1 end
      end
      assert.is_true(read > 50 and refused > 2, ("%d read, %d refused"):format(read, refused))
    end)
  end

  it("is the same read from a file, in part or whole", function()
    local path = os.tmpname()
    for seed = 1, 60 do
      local random = generator(5000 + seed)
      local format = random_trace.FORMATS[seed % 5 + 1]
      local text = random_trace.new(random, format)
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
      local o = { skip = random(4) - 1, limit = random(40), time_unit = format == "mooncake" and "ms" or "s" }
      if format == "azure" then o.time_unit = nil end
      local a, b = trace.parse(text, path, o), trace.read(path, o)
      assert.are.same(a and plain(a), b and plain(b))
      if a then
        assert.are.same({ a.rows, a.skipped, a.passed, a.unsorted }, { b.rows, b.skipped, b.passed,
          b.unsorted })
        assert.is_true(#a <= o.limit)
      end
    end
    os.remove(path)
  end)
end)
