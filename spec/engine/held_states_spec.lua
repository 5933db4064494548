-- What a submit says to every kind of state, in each field that takes one and in pairs of them, against
-- spec/goldens/texts: numbers of its words, which stand below.
local golden = require "spec.support.golden"
local serve = require "spec.support.run_engine"

local ENGINES = {
  { "none", {}, {} },
  { "none with a free column, cached", { hash_block_size = 4 }, { max_blocks_per_row = 2 } },
  { "align", {}, { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 8 } },
  { "align with a free column, blocks", { kv_blocks = 60, kv_block_size = 8, hash_block_size = 8 },
    { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 10 } },
}

local function engine_of(case)
  local e, b = { max_model_len = 64 }, { num_groups = 2, num_slots = 60, checkpoint_any = true }
  for name, value in pairs(case[2]) do e[name] = value end
  for name, value in pairs(case[3]) do b[name] = value end
  return serve.engine("fcfs", e, b)
end

local last = 0
local function submit(engine, fields)
  last = last + 1
  local request = { id = "r" .. last, prompt_tokens = 16, max_tokens = 8 }
  for name, value in pairs(fields) do request[name] = value end
  assert(engine:submit(request))
  return request.id
end

local function run(engine, steps)
  for n = 1, steps do assert(engine:complete(assert(engine:step(n)), n)) end
end

-- Each kind of state, by name; those that this engine cannot have are left out.
local function states_of(engine, other)
  local list = { { "a table", {} }, { "another engine's", assert(other:receive(8)) } }
  local function add(name, state)
    if state then list[#list + 1] = { name, state } end
  end
  for _, tokens in ipairs { 1, 8, 15, 16 } do add("a place of " .. tokens, engine:receive(tokens)) end
  local id = submit(engine, {})
  run(engine, 1)
  add("at a block's end", engine:checkpoint(id))
  add("at the prompt's end", engine:export(id))
  run(engine, 1)
  add("within a block", engine:export(id))
  local released = engine:export(id)
  if released then engine:release(released) end
  add("released, its slots held", released)
  engine:cancel(id)
  local place = engine:receive(8)
  submit(engine, { keep = place })
  run(engine, 1)
  add("left on the way", place)
  place = engine:receive(8)
  if place then submit(engine, { keep = place }) end
  add("awaited", place)
  return list
end

-- Short words: each message once.
local function book()
  local number, words = {}, { [0] = "yes" }
  return function(message)
    message = message or "yes"
    if message == "yes" then return 0 end
    local text = message:gsub("slots%[%d+%] = %d+", "slots[*] = *")
    if not number[text] then
      words[#words + 1] = text
      number[text] = #words
    end
    return number[text]
  end, words
end

local function table_of(case, code)
  local engine, other = engine_of(case), engine_of(case)
  local states, lines = states_of(engine, other), { "== " .. case[1] }
  local function try(fields)
    local request = { id = "x", prompt_tokens = 17, max_tokens = 8 }
    for name, value in pairs(fields) do request[name] = value end
    local is_done, ok, message = pcall(engine.submit, engine, request)
    if is_done and ok then engine:cancel "x" end
    return code(not is_done and ok or not ok and message or nil)
  end
  for _, field in ipairs { "checkpoint", "slot", "keep" } do
    for _, state in ipairs(states) do
      local row = {}
      for _, prompt in ipairs { 8, 9, 15, 16, 17, 18 } do
        row[#row + 1] = try { [field] = state[2], prompt_tokens = prompt }
      end
      row[#row + 1] = ";"
      for _, computed in ipairs { 1, 8, 16, 17 } do
        row[#row + 1] = try { [field] = state[2], computed = computed }
      end
      for _, second in ipairs { "checkpoint", "slot", "keep" } do
        row[#row + 1] = ";"
        for _, another in ipairs(second ~= field and states or {}) do
          row[#row + 1] = try { [field] = state[2], [second] = another[2] }
        end
      end
      lines[#lines + 1] = ("%s %s: %s"):format(field, state[1], table.concat(row, " "))
    end
  end
  assert(engine:verify())
  engine:lose_states()
  for _, field in ipairs { "checkpoint", "slot", "keep" } do
    local row = {}
    for k, state in ipairs(states) do row[k] = try { [field] = state[2] } end
    lines[#lines + 1] = ("%s when all was lost: %s"):format(field, table.concat(row, " "))
  end
  engine:close()
  other:close()
  return lines
end

describe("A state that is held", function()
  it("begins a request, or is refused in these words", function()
    last = 0
    local code, words = book()
    local lines = {}
    for _, case in ipairs(ENGINES) do
      for _, line in ipairs(table_of(case, code)) do lines[#lines + 1] = line end
    end
    for n, text in ipairs(words) do lines[#lines + 1] = ("%d: %s"):format(n, text) end
    golden("held-states", table.concat(lines, "\n") .. "\n")
  end)

  it("print as what they are, also where a host has changed them", function()
    local shown = {}
    for k, case in ipairs(ENGINES) do
      local engine = engine_of(case)
      local place = assert(engine:receive(8))
      shown[k] = tostring(place)
      place.tokens, place.slots[1] = {}, nil
      assert.equal(shown[k]:gsub("8", "a table"):gsub("groups=2", "groups=" .. #place.slots), tostring(place))
      engine:close()
    end
    assert.are.same({ "gdnmeta.Source(tokens=8, groups=2)", "gdnmeta.Source(tokens=8, groups=2)",
                      "gdnmeta.Source(tokens=8, groups=2)",
                      "gdnmeta.Source(tokens=8, groups=2, kv_blocks=1)" }, shown)
  end)
end)
