-- Numbers of a step in words, of vectors of every length around what is shown, against spec/goldens/texts.
local array_of = require "gdnmeta.array_of"
local buckets = require "gdnmeta.repl.explain.buckets"
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"
local say = require "gdnmeta.repl.explain.say"
local tensor = require "gdnmeta.tensor"

local integers, stamps = array_of "int32_t", array_of "double"
local notes = noted.new "explain-"

local core = { stamp = stamps(1) }

local function vector(list) return tensor.vector(core, integers(#list, list), 0, #list) end

local function counted(n, from)
  local list = {}
  for i = 1, n do list[i] = (from or 0) + i - 1 end
  return list
end

describe("The prompt's words #lua", function()
  before_each(notes.clear)

  it("say vectors, ranges and counts", function()
    for n = 0, 15 do
      local view = vector(counted(n, 20))
      notes.note(n, say.list(view), "|", say.stand(n), "|", say.count(n, "row"))
      for _, first in ipairs { 0, 1, 12, 13 } do
        if first <= n then notes.note("  first", first, say.list(view, first)) end
      end
    end
    for from = 0, 2 do
      for to = 0, 4 do notes.note("range", from, to, say.range(from, to)) end
    end
    notes.check "words"
  end)

  it("say where a value stands, among rows that have tokens", function()
    local BOUNDS = { {}, { 0 }, { 0, 3 }, { 0, 0 }, { 0, 3, 3 }, { 0, 0, 4, 4, 9, 9 }, counted(16) }
    for _, values in ipairs { {}, { 1 }, { 0, 1 }, { 1, 1, 0, 1, 1, 0, 1 }, counted(15, 1) } do
      for i, value in ipairs(values) do values[i] = #values == 15 and 1 or value end
      local view = vector(values)
      notes.note("where", values, say.where(view, 1))
      for _, bounds in ipairs(BOUNDS) do
        local rows = vector(bounds)
        notes.note("  among", bounds, say.where(view, 1, rows), "|", say.where(view, 0, rows))
      end
    end
    for _, bounds in ipairs(BOUNDS) do
      for rows = 0, #bounds > 0 and 6 or -1 do
        notes.note("without padding", bounds, rows, say.without_padding(rows, vector(bounds)))
      end
    end
    notes.check "places"
  end)

  it("say how many tokens of each class there are", function()
    for code = 0, 3 ^ 4 - 1 do
      local list, left = {}, code
      for class = 0, 3 do
        for _ = 1, left % 3 do list[#list + 1] = class end
        left = math.floor(left / 3)
      end
      notes.note(#list, buckets.token_class[3](vector(list)))
    end
    notes.check "classes"
  end)

  it("say rows of a matrix as far as they are shown, and a line of chunks", function()
    for _, drafts in ipairs { 0, 10, 11, 12 } do
      local builder = assert(gdn.builder { device = "cpu", num_speculative_tokens = drafts, max_num_seqs = 2,
                                           num_slots = 90 })
      local batch, blocks = builder:batch(), counted(drafts + 1, 5)
      batch:add { query_len = 1 + drafts, seq_len = 99, blocks = blocks, prompt_done = true,
                  drafts = drafts > 0 and drafts or nil }
      batch:add { query_len = 130, seq_len = 130, blocks = counted(drafts + 1, 40) }
      local meta = assert(builder:build(batch))
      local matrix = meta.spec_state_indices_tensor
      notes.note(drafts, matrix and say.row(matrix, 0) or "none", say.chunk(meta.chunk_indices, 0),
        say.chunk(meta.chunk_indices, 1), say.is_bucket(meta))
      builder:close()
    end
    notes.check "rows"
  end)
end)
