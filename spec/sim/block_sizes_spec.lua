-- Blocks of prompts, over whole ranges: which size is found for prompts of blocks of each size, against
-- spec/goldens/texts, and ids of blocks that are made of pieces, against the tokens themselves.
local identity = require "gdnmeta.sim.trace.identity"
local noted = require "spec.support.noted"
local workload = require "gdnmeta.sim.workload"

local notes = noted.new "sim-"

-- Prompts of these tokens with as many ids as blocks of this size need; `wrong` of them with three more.
local function prompts_of(tokens, size, wrong)
  local requests = {}
  for i, n in ipairs(tokens) do
    local hashes = {}
    for k = 1, math.ceil(n / size) + (i <= (wrong or 0) and 3 or 0) do hashes[k] = k end
    requests[i] = { prompt = n, hashes = hashes, line = i }
  end
  return requests
end

local function found(requests, format)
  identity.chain(requests, format or "mooncake")
  local misfit = requests.misfit
  return requests.block_size, misfit and misfit.n, misfit and misfit.text
end

-- "1-3 5" of a list in ascending order.
local function ranges(list)
  local parts, from = {}, 1
  for i = 1, #list do
    if list[i + 1] ~= list[i] + 1 then
      parts[#parts + 1] = from == i and tostring(list[i]) or list[from] .. "-" .. list[i]
      from = i + 1
    end
  end
  return table.concat(parts, " ")
end

describe("Sizes of blocks #lua", function()
  before_each(notes.clear)

  it("are found from what prompts have ids for", function()
    local KINDS = {
      ["some blocks and a half"] = function(size, i) return size * i + math.floor(size / 2) end,
      ["many blocks and all but one token"] = function(size, i) return 7 * size * i + size - 1 end,
      ["two blocks less a token"] = function(size) return 2 * size - 1 end,
      ["whole blocks"] = function(size, i) return size * i end,
    }
    for _, kind in ipairs { "some blocks and a half", "many blocks and all but one token",
                            "two blocks less a token", "whole blocks" } do
      local sizes, order = {}, {}
      for size = 1, 1100 do
        local tokens = {}
        for i = 1, 8 do tokens[i] = KINDS[kind](size, i) end
        local is = found(prompts_of(tokens, size))
        if not sizes[is] then sizes[is], order[#order + 1] = {}, is end
        table.insert(sizes[is], size)
      end
      for _, is in ipairs(order) do notes.note(kind .. ":", is, "for", ranges(sizes[is])) end
    end
    for _, size in ipairs { 4096, 8191, 8192, 8193, 9000, 16384 } do
      local tokens = {}
      for i = 1, 8 do tokens[i] = size * i + 1 end
      notes.note("large:", size, found(prompts_of(tokens, size)))
    end
    notes.check "block-sizes"
  end)

  -- Prompts of which four leave no smaller size and four no larger one: of the round sizes 17 are tried.
  it("are looked for in a bounded range", function()
    local missed = {}
    for size = 2, 1100 do
      local requests = {}
      for i = 1, 8, 2 do
        requests[i] = { prompt = 2 * size - 1, hashes = { 1 }, line = i }
        requests[i + 1] = { prompt = size + 1, hashes = { 1, 2 }, line = i + 1 }
      end
      local is = found(requests)
      if is ~= size then
        assert.are.equal(512, is)
        missed[#missed + 1] = size
      end
    end
    notes.note("missed", ranges(missed))
    notes.check "block-sizes-tried"
  end)

  it("are believed where few prompts do not fit, and there are enough", function()
    for _, size in ipairs { 16, 64, 100, 512 } do
      for _, n in ipairs { 1, 7, 8, 20 } do
        local tokens = {}
        for i = 1, n do tokens[i] = size * i + 1 end
        for _, wrong in ipairs { 0, 1, 2, 3, 9 } do
          if wrong < n then
            for _, format in ipairs { "mooncake", "bailian", "other" } do
              notes.note(("%d prompts of %d, %d wrong, %s:"):format(n, size, wrong, format),
                found(prompts_of(tokens, size, wrong), format))
            end
          end
        end
      end
    end
    notes.check "block-fits"
  end)

  it("are believed as they are published where nine prompts of ten fit, though another fits all", function()
    for others, size in pairs { [7] = 256, [8] = 256, [9] = 512, [10] = 512 } do
      local requests = prompts_of({ 1000 }, 400)
      for i = 1, others do requests[1 + i] = { prompt = 500, hashes = { i } } end
      assert.are.equal(size, (found(requests)))
    end
  end)

  it("are a guess where fewer than eight prompts have ids, however many have none", function()
    for n = 6, 9 do
      for none = 1, 3 do
        local tokens = {}
        for i = 1, n do tokens[i] = 512 * i + 1 end
        local requests = prompts_of(tokens, 512)
        for k = 1, none do requests[n + k] = { prompt = 1024, hashes = {}, line = n + k } end
        local size, misfits, text = found(requests)
        assert.are.same({ 512, none, n < 8 }, { size, misfits, text:find " %(a guess%)" ~= nil })
      end
    end
  end)

  it("make blocks of pieces: one has another's id where all tokens up to its end are the same", function()
    for seed = 1, 30 do
      local random = workload.random(seed)
      local function upto(n) return math.floor(random() * (n + 1)) end
      local size, number, by_text, by_id = 1 + upto(6), identity.numbers(), {}, {}
      local lengths = {} -- of each piece
      for piece = 1, 4 do lengths[piece] = upto(3 * size) end
      for _ = 1, 20 do
        local text, tokens = {}, {}
        for piece = 1, 4 do
          if random() < 0.7 then
            text[#text + 1] = { piece, lengths[piece] }
            for at = 1, lengths[piece] do tokens[#tokens + 1] = piece .. ":" .. at end
          end
        end
        local blocks = identity.blocks_of(text, size, number)
        assert.are.equal(math.floor(#tokens / size), #blocks)
        for k, id in ipairs(blocks) do
          local prefix = table.concat(tokens, " ", 1, k * size)
          assert.are.equal(by_text[prefix] or id, id, "seed " .. seed)
          assert.are.equal(by_id[id] or prefix, prefix, "seed " .. seed)
          by_text[prefix], by_id[id] = id, prefix
        end
      end
    end
  end)
end)
