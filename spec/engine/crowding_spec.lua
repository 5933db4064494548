-- F10: what is kept for others, as sessions, sources and places are, leaves room for any one request to
-- run alone. The same is asked of engines with a block or a slot more each: what they grant and refuse, with
-- a checksum of the words, against spec/goldens/texts. Every request that was let in comes to its end.
local golden = require "spec.support.golden"
local serve = require "spec.support.run_engine"
local texts = require "spec.support.step_texts"

local function text(of, n)
  local list = {}
  for k = 1, n do list[k] = 100 * of + k end
  return list
end

-- What is asked in turn. Each gives what the engine answers.
local function asks(e)
  local held, list = {}, {}
  local function keep(state, ...)
    held[#held + 1] = state
    return state, ...
  end
  local function add(f) list[#list + 1] = f end
  local function submit(id, fields)
    add(function() return e:submit(serve.request(id, fields)) end)
  end
  submit("long", { prompt_tokens = 30, max_tokens = 7 })
  submit("same", { prompt_tokens = 26, max_tokens = 9, tokens = text(1, 26), session = "b" })
  submit("other", { prompt_tokens = 21, max_tokens = 5, tokens = text(2, 21), session = "c" })
  for _, name in ipairs { "a", "b", "c" } do add(function() return e:pin(name) end) end
  local function step() return e:complete(assert(e:step(50)), 51) end
  add(step)
  for _, id in ipairs { "long", "same", "other" } do
    add(function() return keep(e:export(id)) end)
    add(function() return e:fork(id, { id = id .. " too", max_tokens = 12 }) end)
  end
  for _, tokens in ipairs { 3, 8, 17, 24 } do add(function() return keep(e:receive(tokens)) end) end
  for k = 1, 3 do
    add(function()
      if not held[k] then return nil, "nothing is held" end
      return e:submit(serve.request("from " .. k, { prompt_tokens = held[k].tokens + 9, max_tokens = 8,
                                                    slot = held[k] }))
    end)
  end
  for prompt = 10, 60, 7 do submit(prompt, { prompt_tokens = prompt, max_tokens = 4 }) end
  submit("as known", { prompt_tokens = 40, max_tokens = 3, tokens = text(1, 40) })
  add(step)
  for _, tokens in ipairs { 1, 9, 20 } do add(function() return keep(e:receive(tokens)) end) end
  for _, id in ipairs { "long", "same", "other" } do add(function() return keep(e:export(id)) end) end
  for _, name in ipairs { "a", "b", "c" } do
    add(function() return e:unpin(name) end)
    add(function() return e:pin(name) end)
  end
  return list, held
end

local function ask_all(e)
  assert(e:submit(serve.request("first", { prompt_tokens = 18, max_tokens = 1, tokens = text(1, 18),
                                           session = "a" })))
  serve.run(e)
  local list, held = asks(e)
  local letters, sum = {}, 7
  for n, ask in ipairs(list) do
    local ok, message, code = ask()
    letters[n] = ok and "+" or "-"
    sum = texts.sum(texts.sum(sum, message), code)
    sum = texts.sum(sum, texts.numbers(e:slots()) .. texts.numbers(e:kv() or {}))
  end
  assert(e:verify())
  serve.run(e) -- all end, whatever is kept
  for _, name in ipairs { "a", "b", "c" } do e:unpin(name) end
  for k = 1, table.maxn(held) do
    if held[k] then e:release(held[k]) end
  end
  assert(e:verify())
  return table.concat(letters), sum
end

describe("What is kept", function()
  it("leaves room for any one request, to the block and the slot", function()
    local lines = {}
    local function case(title, options, builder)
      local e = serve.caching_engine(options, builder)
      lines[#lines + 1] = ("%s: %s %.0f"):format(title, ask_all(e))
      e:close()
    end
    for _, spec in ipairs { 0, 2 } do
      for _, watermark in ipairs { 0, 0.15 } do
        for blocks = 8, 36 do
          case(("S %d, watermark %g, %d blocks"):format(spec, watermark, blocks),
            { kv_blocks = blocks, kv_block_size = 4, kv_watermark = watermark, max_model_len = 64 },
            { num_speculative_tokens = spec, num_slots = 40, max_blocks_per_row = spec + 2 })
        end
      end
      for slots = spec + 3, 16 do
        case(("S %d, %d slots"):format(spec, slots), { max_model_len = 64 },
          { num_speculative_tokens = spec, num_slots = { slots, slots + 2 }, num_groups = 2,
            max_blocks_per_row = spec + 2 })
      end
    end
    golden("crowding", table.concat(lines, "\n") .. "\n")
  end)
end)
