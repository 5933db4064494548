-- engine:verify() finds what is broken on purpose, each thing by its own words: what is held (I13, I28), the
-- books (I26), the state cache and its sessions (I29), the columns of states (I30; of a step that is built
-- again: rebuilt_columns_spec).
local lib = require "gdnmeta.native"
local inside = require "spec.support.index_struct"
local serve = require "spec.support.run_engine"

local EGUARD = -4

-- An engine in the middle of its work: a state of a session that is pinned, and two requests that answer.
local function busy()
  local e = serve.engine("fcfs", { hash_block_size = 4, max_model_len = 200, kv_blocks = 60,
                                   kv_block_size = 4 }, { max_blocks_per_row = 3, num_slots = 20 })
  local tokens = {}
  for k = 1, 18 do tokens[k] = k end
  for id = 1, 3 do
    assert(e:submit { id = id, prompt_tokens = 18, max_tokens = id == 1 and 1 or 50, tokens = tokens,
                      salt = id, session = id == 1 and "s" or nil })
  end
  for now = 1, 8 do
    local step, results = assert(e:step(now)), {}
    for row = 0, step.num_rows - 1 do
      if step.samples[row] == 1 then results[step:id(row)] = { tokens = { 100 + now } } end
    end
    assert(e:complete(step, now, results))
  end
  assert(e:pin "s")
  assert(e:submit { id = 9, prompt_tokens = 18, max_tokens = 9 })
  return e, e.private, e.private.requests.index[2]
end

local BREAKS = {
  ["slot %d+ of group 0 has 2 holders, want 1"] = function(p)
    local row = p.requests.table_row[p.running[0]]
    lib.gdn_slots_share(p.states.pools, 0, p.states.tables[0][row * p.states.width])
  end,
  ["slot %d+ of group 0 has 1 holders, want 2"] = function(p)
    lib.gdn_slots_drop(p.states.pools, 0, p.prefix.held_slots[p.requests.table_row[p.running[0]]])
  end,
  ["block %d+ has 2 holders, want 1"] = function(p) -- of the last token
    local row = p.requests.table_row[p.running[0]]
    lib.gdn_kv_hold(p.kv_blocks.kv, lib.gdn_kv_table(p.kv_blocks.kv) + row * p.max_kv_blocks
                    + lib.gdn_kv_length(p.kv_blocks.kv, row) - 1, 1)
  end,
  ["3 slots are kept, want 1 of group 0"] = function(p) p.states.pins[1].n = 3 end,
  ["%d blocks are kept, want %d+"] = function(p) p.states.kv_pins.n = 1 end,
  ["slot 2 is kept 0 times, want none of group 0"] = function(p) p.states.pins[1][2] = 0 end,
  ["slot %d+ is kept 2 times, want 1 of group 0"] = function(p, _, e)
    p.states.pins[1][assert(e:receive(16)).slots[1]] = 2
  end,
  ["block %d+ is kept 0 times, want 1"] = function(p, _, e)
    p.states.kv_pins[assert(e:receive(16)).kv_blocks[1]] = nil
  end,
  ["(%d+) blocks are free, want %d+"] = function(p) p.states.free_kv = p.states.free_kv + 1 end,
  ["session s: node %d+ has no state, or no pin"] = function(p)
    p.prefix.index:unpin(p.prefix.sessions.s.node)
  end,
  ["session s: node %d has no state, or no pin"] = function(p, _, e) -- nobody said that it has none
    assert(e:unpin "s")
    while p.prefix.index:describe(p.prefix.sessions.s.node).state_bytes > 0 do
      assert(p.prefix.index:leave_first(1, 0, nil, nil, p.states.pools) > 0)
    end
  end,
  ["state cache: node %d+ has 0 children, not 7"] = function(p)
    inside(p.prefix.index.handle).nodes[p.prefix.sessions.s.node].children = 7
  end,
  ["1 states of answers are held, want 2"] = function(p) p.prefix.num_held = 1 end,
  ["1 states are pinned, want 0"] = function(p) p.prefix.sessions.s.pinned = false end,
  ["session t is remembered for nothing"] = function(p)
    p.prefix.sessions.t = { key = "t", live = 0, node = 0, pinned = false, last = 0 }
  end,
  ["request 2 has %d+ tokens computed, %-4 of them cached"] = function(p, i) p.requests.cached[i] = -4 end,
  ["request 2 has 25 tokens computed, 0 of them cached"] = function(p, i) p.requests.computed[i] = 25 end,
  ["request 9 has 1 tokens computed, 0 of them cached and 0 in flight, of 18 known"] = function(p)
    p.requests.computed[p.requests.index[9]] = 1
  end,
  ["request 9 has 18 tokens computed, 18 of them cached and 0 in flight, of 18 known"] = function(p)
    p.requests.computed[p.requests.index[9]], p.requests.cached[p.requests.index[9]] = 18, 18
  end,
  ["3 requests read another's state, want 2"] = function(p) p.states.num_sourced = 3 end,
  ["2 requests read another's state, want 1"] = function(p, i) p.requests.sourced[i] = 0 end,
  ["request 2 has no slot of group 0 in column 1"] = function(p, i) p.requests.read_column[i] = 1 end,
  ["step 9: request %d has no slot of group 0 in column 1"] = function(_, _, e)
    assert(e:step(9)).column[0] = 1
  end,
  ["2 requests run, want 3"] = function(p) p.requests.state[p.requests.index[9]] = 2 end,
  ["(%d+) tokens were scheduled, want %d+"] = function(p, i) p.requests.cached[i] = 4 end,
}

describe("engine:verify", function()
  it("finds nothing where all is right", function()
    local e = busy()
    assert.is_true(e:verify())
    e:close()
    e = serve.engine "fcfs"
    assert.is_true(e:verify())
    e:close()
  end)

  for words, spoil in pairs(BREAKS) do
    it("says: " .. words, function()
      local e, private, i = busy()
      spoil(private, i, e)
      local ok, message, code = e:verify()
      assert.is_nil(ok)
      assert.are.equal(EGUARD, code)
      assert.matches("^gdnmeta.engine: " .. words, message)
    end)
  end
end)
