-- Two steps in flight in mode align: the second is built again without the drafts of the first that were
-- rejected, and writes a column below. The engine holds it (I30), also where a fork or an answer took slots.
local gdn = require "gdnmeta"
local columns = require "gdnmeta.engine.verify_columns"
local drawer = require "spec.support.drawer"
local serve = require "spec.support.run_engine"

local BLOCK, SPEC = 4, 3

local function engine(options, spec)
  local b = { mamba_cache_mode = "align", mamba_block_size = BLOCK, num_speculative_tokens = spec or SPEC,
              max_num_seqs = 2, max_requests = 4, max_rows = 8, max_num_batched_tokens = 64,
              max_blocks_per_row = 40, num_slots = 60 }
  local o = { builder = serve.builder(b), second_builder = serve.builder(b), async = true, policy = "fcfs" }
  for name, value in pairs(options) do o[name] = value end
  return assert(gdn.engine(o))
end

local function text(n)
  local list = {}
  for k = 1, n do list[k] = k * 7 % 1000 end
  return list
end

describe("A step that is built again without drafts, in mode align,", function()
  -- Of every length, for prompts end anywhere in a block; max_model_len cuts the drafts of the second step.
  for spec, least in pairs { [1] = 20, [SPEC] = 50 } do
    it("has its column after a fork, with drafts up to " .. spec, function()
      local corrected = 0
      for length = 4, 9 do
        for max_model_len = length + 4, length + 14 do
          local e = engine({ max_model_len = max_model_len }, spec)
          e:submit { id = 1, prompt_tokens = length, max_tokens = 9 }
          repeat
            local step = e:step(0)
            e:complete(step, 0, { [1] = { next_drafts = spec } })
          until e:request(1).known > length
          assert(e:fork(1, { id = 2 }))
          e:cancel(2)
          local first, second = e:step(1), e:step(2)
          if second.num_rows > 0 then
            assert(e:verify())
            local ends = second.seq_len[0]
            assert(e:complete(first, 3, { [1] = { accepted_drafts = 0 } }))
            assert.are.equal(ends - first.drafts[0], second.seq_len[0])
            assert.is_true(e:verify())
            corrected = corrected + first.drafts[0]
          end
          e:close()
        end
      end
      assert.is_true(corrected > least, corrected)
    end)
  end

  -- One request that says 60 tokens. One step is in flight for a while, whose drafts may be accepted, then
  -- two, whose drafts are rejected.
  it("has its column where the state of an answer is kept", function()
    local draw, corrected = drawer(tonumber(os.getenv "GDN_SEED") or os.time()), 0
    for case = 1, 200 do
      local length = 4 + draw(9)
      local e = engine { hash_block_size = BLOCK, max_model_len = 100 }
      assert(e:submit { id = 1, prompt_tokens = length, max_tokens = 60, tokens = text(length) })
      local flying, most = {}, 0
      repeat
        local step = assert(e:step(case))
        assert(e:verify())
        if step.num_rows > 0 then flying[#flying + 1] = step end
        while #flying > most or #flying > 0 and step.num_rows == 0 do
          local done, result = table.remove(flying, 1), { next_drafts = draw(2) == 1 and SPEC or 0 }
          if done.samples[0] == 1 then
            result.accepted_drafts = most == 0 and draw(math.max(done.drafts[0], 0) + 1) - 1 or 0
            result.tokens = text(result.accepted_drafts + 1)
          end
          local ends = flying[1] and flying[1].seq_len[0]
          assert(e:complete(done, case, { [1] = result }))
          assert.is_true(e:verify())
          if ends and flying[1].seq_len[0] < ends then corrected = corrected + 1 end
        end
        if draw(4) == 1 then most = 1 - most end
      until e:idle()
      e:close()
    end
    assert.is_true(corrected > 300, corrected)
  end)

  -- Each column that one of the two writes or reads, or will where drafts are rejected; no other.
  local function columns_of(e, first, second)
    local least = math.floor((second.seq_len[0] - first.drafts[0] - 1) / BLOCK)
    local lowest = math.min(first.column[0], least, e.private.requests.read_before[0])
    local most = math.max(first.column[0] + first.drafts[0], second.column[0] + math.max(second.drafts[0], 0))
    return lowest, most, least < first.column[0]
  end

  local function problem_without(e, row, column)
    local cells = e.private.states.tables[0] + row * e.private.config.max_blocks_per_row
    local cell = cells[column]
    cells[column] = 0
    local problem = columns.problem(e.private)
    cells[column] = cell
    return problem
  end

  it("is found out by verify where one of its columns is empty", function()
    local found, fine, below = 0, 0, 0
    for length = 4, 9 do
      for max_model_len = length + 6, length + 14 do
        local e = engine { max_model_len = max_model_len }
        e:submit { id = 1, prompt_tokens = length, max_tokens = 30 }
        for _ = 1, 2 do e:complete(e:step(0), 0, { [1] = { next_drafts = SPEC } }) end
        local first, second = e:step(1), e:step(2)
        local lowest, most, is_below = columns_of(e, first, second)
        for column = 0, second.num_rows > 0 and 7 or -1 do
          local problem = problem_without(e, first.table_row[0], column)
          if column >= lowest and column <= most then
            assert.matches("request 1 has no slot of group 0 in column " .. column, problem)
            found = found + 1
          else
            assert.is_nil(problem)
            fine = fine + 1
          end
        end
        below = below + (is_below and 1 or 0)
        assert.is_nil(columns.problem(e.private))
        e:close()
      end
    end
    assert.is_true(found > 25 and fine > 25 and below > 3, ("%d, %d, %d"):format(found, fine, below))
  end)
end)
