-- Made-up sessions: the same on every machine, in closed loop, with the identity that their texts have.
local gdn = require "gdnmeta"

local generate = gdn.sim.dialogues.generate

local function small(kind, seed) return generate { kind = kind, seed = seed or 1, sessions = 60 } end

describe("Made-up sessions #lua", function()
  for _, kind in ipairs { "conversation", "synthetic", "agents" } do
    it("of kind " .. kind .. " are the same for a seed, and others for another one", function()
      local a, b, c = small(kind), small(kind), small(kind, 2)
      assert.are.equal(#a, #b)
      for i, r in ipairs(a) do
        local other = b[i]
        assert.are.same({ r.arrival, r.prompt, r.output, r.session },
          { other.arrival, other.prompt, other.output, other.session })
        assert.are.same(r.blocks, b[i].blocks)
      end
      assert.are_not.equal(a[1].prompt, c[1].prompt)
    end)

    it("of kind " .. kind .. " have an id per full block, and turns after turns", function()
      local requests, last = small(kind), {}
      local links, before = 0, 0
      for _, r in ipairs(requests) do
        assert.are.equal(math.floor(r.prompt / requests.block_size), #r.blocks)
        assert.is_true(r.arrival >= before and r.output >= 1)
        before = r.arrival
        assert.are.equal(last[r.session], r.after)
        if r.after then
          links = links + 1
          assert.is_true(math.abs(r.after.arrival + r.think - r.arrival) < 1e-3)
        end
        last[r.session] = r
      end
      assert.is_true(links > 0)
    end)
  end

  it("share what their texts share: an agent's turn mostly begins with the prompt before", function()
    local n, whole = 0, 0
    for _, r in ipairs(small "agents") do
      if r.after then
        local shared = 0
        while shared < #r.after.blocks and r.after.blocks[shared + 1] == r.blocks[shared + 1] do
          shared = shared + 1
        end
        n, whole = n + 1, whole + (shared == #r.after.blocks and 1 or 0)
      end
    end
    assert.is_true(whole / n > 0.9 and whole < n)
  end)

  it("are sessions that the simulator runs in closed loop", function()
    local run = assert(gdn.sim.run { requests = generate { kind = "synthetic", sessions = 6 },
      closed_loop = true, max_num_seqs = 8 })
    assert.is_true(run.conservation.ok ~= false)
    assert.matches("in closed loop", table.concat(run.setup.notices, "\n"))
  end)

  it("refuse other kinds at the caller's line", function()
    assert.error_matches(function() generate { kind = "chat" } end, 'kind = "chat", want')
  end)
end)
