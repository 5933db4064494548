-- Files of traces: lines wherever the blocks end in which a file is read, and which columns a header needs.
local lines_of = require "gdnmeta.sim.trace.lines"
local noted = require "spec.support.noted"
local trace = require "gdnmeta.sim.trace"

local notes = noted.new "trace-files-"

local BLOCK = 65536 -- bytes that are read at first; then as many as are there already

describe("Of a file of a trace #lua", function()
  local path
  before_each(function()
    notes.clear()
    path = os.tmpname()
  end)
  after_each(function() os.remove(path) end)

  it("lines are whole wherever its blocks end", function()
    for _, blocks in ipairs { 1, 2, 3, 4, 8 } do
      for more = -2, 2 do
        local texts = { ("a"):rep(blocks * BLOCK + more), "b", "", ("c"):rep(BLOCK - 1), "d" }
        local file = assert(io.open(path, "wb"))
        file:write(table.concat(texts, "\n"))
        file:close()
        file = assert(io.open(path, "rb"))
        local lines = assert(lines_of.of(file))
        for i, text in ipairs(texts) do
          assert.is_true(lines:next() == text, ("%d blocks, %d bytes more, line %d"):format(blocks, more, i))
        end
        assert.is_nil(lines:next())
        assert.are.equal(#table.concat(texts, "\n"), lines.bytes)
        file:close()
      end
    end
  end)

  it("the header has columns of all that is needed", function()
    local COLUMNS = { "arrival_s", "prompt_tokens", "output_tokens", "delay", "session_id" }
    for code = 0, 2 ^ #COLUMNS - 1 do
      local names, cells = {}, {}
      for k, name in ipairs(COLUMNS) do
        if math.floor(code / 2 ^ (k - 1)) % 2 == 1 then names[#names + 1], cells[#cells + 1] = name, k end
      end
      local text = table.concat(names, ",") .. "\n" .. table.concat(cells, ",") .. "\n"
      local requests, message = trace.parse(text, "t")
      local r = requests and requests[1]
      notes.note(table.concat(names, " ") .. ":", message
        or ("%g %d %d %s"):format(r.arrival, r.prompt, r.output, tostring(r.session)))
    end
    notes.check "headers"
  end)
end)
