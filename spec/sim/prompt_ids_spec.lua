-- Which prompts begin alike, of lists of requests of every kind: what is found, or why there is nothing,
-- against spec/goldens/texts.
local gdn = require "gdnmeta"
local prompt_ids = require "gdnmeta.sim.prompt_ids"
local noted = require "spec.support.noted"
local workload = require "gdnmeta.sim.workload"

local notes = noted.new "sim-"
local note, check = notes.note, notes.check

-- { prompt, output, session, blocks }, a second apart
local function list(rows, fields)
  local requests = {}
  for i, r in ipairs(rows) do
    requests[i] = { arrival = i, prompt = r[1], output = r[2] or 1, session = r[3], blocks = r[4] }
  end
  for name, value in pairs(fields or {}) do requests[name] = value end
  return requests
end

local function try(name, requests, options)
  local o = { requests = requests, preset = "constant-20ms", measure = false, num_groups = 1,
              max_num_seqs = 4, cache = "every_block", cache_slots = 50 }
  for field, value in pairs(options or {}) do o[field] = value end
  local ok, run, message = pcall(gdn.sim.run, o)
  if not ok then return note(name, "raised", (tostring(run):gsub("^[^:]*:%d+: ", ""))) end
  if not run then return note(name, "refused", message) end
  local c = run.cache
  note(name, { c.hit_tokens, c.ceiling, c.block_size, c.most_states },
    table.concat(run.setup.notices or {}, "; "))
end

describe("Identity of prompts in the simulator #lua", function()
  before_each(notes.clear)

  -- Against the tokens: a turn's are those of the turn before, where it is as long, and others of its own.
  it("of sessions is that of the tokens which turns share", function()
    for seed = 1, 40 do
      local random, rows = workload.random(seed), {}
      for i = 1, 15 do rows[i] = { 1 + math.floor(random() * 90), 1, "s" .. math.floor(random() * 3) } end
      for i = 14, 15 do rows[i] = { 80 + 40 * (i - 13), 1, "s0" } end -- a turn follows a shorter one
      local requests, last, by_text, by_id = list(rows), {}, {}, {}
      assert(prompt_ids.identify(requests, {}))
      for i, r in ipairs(requests) do
        local before, tokens = last[r.session] or {}, {}
        for at = 1, r.prompt do tokens[at] = #before <= r.prompt and before[at] or i .. ":" .. at end
        last[r.session] = tokens
        assert.are.equal(math.floor(r.prompt / requests.block_size), #r.blocks)
        for k, id in ipairs(r.blocks) do
          local prefix = table.concat(tokens, " ", 1, k * requests.block_size)
          assert.are.equal(by_text[prefix] or id, id, "seed " .. seed)
          assert.are.equal(by_id[id] or prefix, prefix, "seed " .. seed)
          by_text[prefix], by_id[id] = id, prefix
        end
      end
    end
  end)

  it("comes from ids, or from sessions, or is nowhere", function()
    local ids = { { 9, 1, nil, { 1, 2 } }, { 13, 2, nil, { 1, 2, 3 } }, { 9, 1, nil, { 1, 5 } } }
    for _, size in ipairs { 0, 1, 4, 2 ^ 20, 2 ^ 20 + 1, 1.5, "4" } do
      try("block_size " .. tostring(size), list(ids, { block_size = size }))
    end
    try("none", list { { 9 }, { 13 } })
    try("some", list({ { 9, 1, nil, { 1, 2 } }, { 13 }, { 9, 1, nil, { 1, 2 } } }, { block_size = 4 }))
    for _, blocks in ipairs { { 1 }, { 1, 2, 3 } } do
      try("few or many", list({ { 9, 1, nil, blocks }, { 9, 1, nil, { 1, 2 } } }, { block_size = 4 }))
    end
    for _, blocks in ipairs { { 1, "x" }, { 1, -1 }, { 1, 2 ^ 53 }, { 1, 1.5 }, { 0, 2 ^ 53 - 1 }, 7,
                              "no" } do
      try("ids", list({ { 9, 1, nil, blocks }, { 9, 1, nil, blocks } }, { block_size = 4 }))
    end
    local turns = { { 40, 3, "a" }, { 60, 40, "a" }, { 120, 2, "a" }, { 200, 2, "a" }, { 70, 1, "b" },
                    { 80, 1 } }
    try("sessions", list(turns))
    try("sessions, shorter", list { { 60, 3, "a" }, { 40, 5, "a" } })
    try("sessions, as long", list { { 60, 3, "a" }, { 60, 5, "a" } })
    try("sessions of one turn", list { { 60, 3, "a" }, { 60, 5, "b" } })
    try("sessions, dealt out", list(turns), { sessions = 2 })
    local alike = { { 20, 1, "a" }, { 20, 1, "a" }, { 21, 1, "a" }, { 37, 1, "a" } }
    try("sessions of one length", list(alike))
    try("no blocks at all", list({ { 9 }, { 13 } }, { block_size = 4 }))
    for misfits = 0, 3 do
      for known = 2, 3 do
        local misfit = { n = misfits, line = 3, text = "why" }
        local fields = { block_size = 4, known = known, name = "n", misfit = misfit }
        try(("%d misfits of %d"):format(misfits, known), list(ids, fields))
      end
    end
    try("replies", list(turns), { cache_replies = true })
    try("replies of none", list { { 60, 3, "a" }, { 60, 5, "a" } }, { cache_replies = true })
    try("replies, async", list(turns), { cache_replies = true, async = true })
    for _, block in ipairs { 4, 6, 8, 16, 48 } do
      local align = { mamba_cache_mode = "align", mamba_block_size = block }
      try("align " .. block, list(ids, { block_size = 4 }), align)
      try("align, sessions " .. block, list(turns), align)
    end
    for _, size in ipairs { 1, 2, 3, 5, 6, 12, 16, 24, 32, 48 } do -- blocks of attention cache fit into both
      local requests = list({ { 99, 1, nil, { 1 } }, { 99, 1, nil, { 1 } } }, { block_size = size })
      local found = prompt_ids.of(requests, { mamba_cache_mode = "none" })
      note("kv blocks of " .. size, found and found.kv_block_size, found and found.hash_block_size)
      for _, of in ipairs(found and found.ids or {}) do assert.is_nil(of[0]) end
    end
    check "identity"
  end)
end)
