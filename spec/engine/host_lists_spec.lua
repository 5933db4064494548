-- Several states of the cache that leave for the host in one step: the step tells all of them, whole.
local serve = require "spec.support.run_engine"

local SIZES, GROUPS, SLOTS = 9, 2, 400

local function submit(e, id, text)
  local ids = {}
  for k = 1, 4 do ids[k] = 100 * text + k end
  assert(e:submit(serve.request(id, { prompt_tokens = 18, max_tokens = 1, blocks = ids })))
end

-- Pairs of a list's copies: "slots of the device>place of the host".
local function copies(n, from, to)
  local list = {}
  for k = 0, n - 1 do list[k + 1] = from[GROUPS * k] .. "," .. from[GROUPS * k + 1] .. ">" .. to[k] end
  return list
end

describe("States that leave together", function()
  it("are told with a place of their own each, and the slots that they had", function()
    local most = 0
    for seqs = 1, SIZES do
      local e = serve.caching_engine({ host_slots = SLOTS },
        { num_slots = 300, num_groups = GROUPS, max_num_seqs = seqs, max_requests = 400,
          max_num_batched_tokens = 20 * seqs })
      local tier, text = e.private.prefix.host, 0
      local want, told, number = {}, {}, 0
      local copy = tier.tell
      tier.tell = function(self, step)
        for _, pair in ipairs(copies(self.num_leaving, self.from, self.to)) do want[#want + 1] = pair end
        most = math.max(most, self.num_leaving)
        copy(self, step)
      end
      while text < 330 do
        for _ = 1, seqs do
          text = text + 1
          submit(e, text, text)
        end
        while not e:idle() do
          number = number + 1
          local step = assert(e:step(number))
          for _, pair in ipairs(copies(step.demoted.n, step.demoted.from, step.demoted.to)) do
            told[#told + 1] = pair
          end
          assert(e:complete(step, number))
        end
      end
      assert.is_true(#told > 20)
      assert.are.same(want, told)
      assert.are.equal(#told, e.cache:stats().demoted)
      assert.is_true(e:verify())
      e:close()
    end
    assert.is_true(most >= 5)
  end)
end)
