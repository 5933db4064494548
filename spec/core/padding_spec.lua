-- What a step's tensors hold does not depend on the steps before it: steps of more and of fewer rows and
-- padding in turn, in memory that held other things, are what a builder that is new makes of each.
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"

local random = math.random
local ROWS, CASES = 10, 25

local function add(batch, S, mixed)
  local rows = random(0, ROWS)
  local kind = random(mixed and 3 or 2)
  for i = 1, rows do
    local blocks = {}
    for k = 1, S + 1 do blocks[k] = i * (S + 1) + k end
    if kind == 2 and S > 0 then
      assert(batch:add { query_len = S + 1, seq_len = 30, drafts = S, accepted = random(S + 1),
                         prompt_done = true, blocks = blocks })
    else
      local is_chunk = kind == 3 and i > rows / 2
      assert(batch:add { query_len = is_chunk and 5 + S or 1, seq_len = 90, prompt_done = not is_chunk,
                         blocks = blocks })
    end
  end
  local q = kind == 2 and S + 1 or 1
  return random(rows, ROWS), kind == 3 and ROWS * (5 + S) or ROWS * q
end

describe("A step's padding", function()
  for _, options in ipairs { {}, { pad_slot_id = -1 }, { num_speculative_tokens = 2 },
                             { num_speculative_tokens = 2, full_cuda_graph = "mixed", pad_slot_id = -1 },
                             { full_cuda_graph = "mixed" }, { rules = "vllm-2026-08", pad_slot_id = -1 } } do
    local names = {}
    for name, value in pairs(options) do names[#names + 1] = name .. " " .. tostring(value) end
    table.sort(names)
    it("is its own: " .. table.concat(names, ", "), function()
      math.randomseed(11)
      local o = { device = "cpu", max_num_seqs = ROWS, max_rows = ROWS, num_slots = 99,
                  full_cuda_graph = true, max_num_batched_tokens = 200, max_cudagraph_capture_size = 100 }
      for name, value in pairs(options) do o[name] = value end
      local old = assert(gdn.builder(o))
      lib.gdn_builder_poison(old.handle)
      for case = 1, CASES do
        local new = assert(gdn.builder(o))
        lib.gdn_builder_poison(new.handle)
        local seed, views = random(2 ^ 30), {}
        for k, builder in ipairs { old, new } do
          math.randomseed(seed)
          local batch = assert(builder:batch())
          local rows, tokens = add(batch, o.num_speculative_tokens or 0, o.full_cuda_graph == "mixed")
          batch:pad(rows, tokens)
          local meta = assert(builder:build(batch))
          views[k] = {}
          for _, list in ipairs { compare.TENSORS, compare.STATE } do
            for _, name in ipairs(list) do views[k][name] = meta[name] and meta[name]:totable() end
          end
          batch:close()
        end
        assert.are.same(views[2], views[1], "case " .. case)
        new:close()
      end
      old:close()
    end)
  end
end)
