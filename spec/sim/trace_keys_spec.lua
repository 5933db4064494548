-- Traces of JSON lines whose keys change from line to line: each line is read by its own keys, of which the
-- one with the lower rank counts. Against spec/goldens/texts.
local noted = require "spec.support.noted"
local trace = require "gdnmeta.sim.trace"

local notes = noted.new "trace-keys-"

-- Keys that mean the tokens of a prompt or the arrival, and values of them.
local PROMPTS = { '"prompt_tokens":3', '"num_prompt_tokens":4', '"input_length":5', '"prompt_tokens":null',
                  '"prompt_tokens":3,"input_length":5', '"input_length":5,"prompt_tokens":null' }
local TIMES = { '"timestamp":6', '"arrival_s":7', '"arrival_ms":8000', '"arrival":9',
                '"timestamp":6,"arrival_s":7', '"arrival":null,"time":2' }

local function lines_of(list)
  local lines = {}
  for i, part in ipairs(list) do lines[i] = "{" .. part .. "}" end
  return table.concat(lines, "\n")
end

local function note(what, text)
  local requests, message = trace.parse(text, "t")
  local parts = {}
  for i, r in ipairs(requests or {}) do parts[i] = ("%d:%g/%d"):format(r.line, r.arrival, r.prompt) end
  notes.note(what, message or table.concat(parts, " "),
    requests and table.concat(trace.notices(requests), ". "))
end

describe("Lines of JSON #lua", function()
  before_each(notes.clear)

  it("are read by their own keys, whatever the line before had", function()
    for i, first in ipairs(PROMPTS) do
      for j, second in ipairs(PROMPTS) do
        note(("prompts %d, %d:"):format(i, j), lines_of { '"timestamp":0,"output_length":2,' .. first,
          '"timestamp":0,"output_length":2,' .. second, '"timestamp":0,"output_length":2,' .. first })
      end
    end
    for i, first in ipairs(TIMES) do
      for j, second in ipairs(TIMES) do
        note(("times %d, %d:"):format(i, j), lines_of { '"input_length":5,"output_length":2,' .. first,
          '"input_length":5,"output_length":2,' .. second })
      end
    end
    notes.check "lines"
  end)

  it("of one rank count in the order of their bytes, wherever they stand", function()
    local NAMES = { "PROMPT_TOKENS", "Prompt-Tokens", "PromptTokens", "Prompt_Tokens", "prompt tokens",
                    "prompt-tokens", "prompt_tokens", "prompttokens" }
    for i, a in ipairs(NAMES) do
      for j, b in ipairs(NAMES) do
        local line = ('{"timestamp":0,"output_length":2,"%s":%d,"%s":%d}'):format(a, i, b, j)
        local requests = assert(trace.parse(line, "t"))
        assert.are.equal(math.min(i, j), requests[1].prompt, line)
      end
    end
  end)

  it("may lack what the line before had", function()
    local whole = '"timestamp":0,"input_length":5,"output_length":2'
    for _, more in ipairs { '"user":"u"', '"class":"c"', '"priority":3', '"weight":2', '"ttft":1', '"tpot":1',
                            '"session_id":"s","delay":1000', '"hash_ids":[1]', '"deadline":5' } do
      local requests = assert(trace.parse(lines_of { whole .. "," .. more, whole }, "t"))
      for name in pairs(requests[1]) do
        local is_always = name == "arrival" or name == "prompt" or name == "output" or name == "line"
        assert.are.equal(is_always, requests[2][name] ~= nil, more .. " " .. name)
      end
    end
  end)
end)
