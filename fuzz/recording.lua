-- record/reader.lua: any file at all is a recording whose steps a builder can be given, or nil and a message
-- that names the line. Bytes that do not begin like JSON are edits of a recording that is right.
package.path = "./?.lua;" .. package.path
local edits = require "fuzz.edits"
local validate = require "gdnmeta.record.validate"
local reader = require "gdnmeta.record.reader"
local rebuilds = require "gdnmeta.record.rebuild"
local inspect_request = require "gdnmeta.cli.inspect_request"

local MAX_MEMORY = 4 * 2 ^ 20
local RULES = { false, "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" }
local PATH = os.getenv "FUZZ_FILE" or os.tmpname() -- a name by chance would change what is tried

local function read(name)
  local file = assert(io.open("fuzz/corpus/recording/" .. name, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local RIGHT = { read "steps", read "requests" } -- of versions 1 and 2
local ASKED = { "a", "17", "" }

local function refused(message, code)
  assert(type(message) == "string" and message:sub(1, #PATH + 1) == PATH .. ":", message)
  assert(message:find("^%d+: .", #PATH + 2), message)
  assert(#message < #PATH + 600, "a message of any length")
  assert(not message:find "%c", "a message with the file's control bytes")
  assert(code < 0, "a message without a code")
end

local function say(line)
  assert(#line < 1000 and not line:find "%c", "a line with the file's control bytes")
end

-- What was read can be built, or refused by the core; differences are counted either way. What it says of
-- requests can be told.
local function rebuild(recording, rules)
  local told = {}
  for i, id in ipairs(ASKED) do told[i] = inspect_request.new(id, say, validate.short) end
  local built, message, code = rebuilds.new(recording.header, "cpu", rules)
  if not built then return assert(type(message) == "string" and code < 0, message) end
  while true do
    local step, why, number = recording:next()
    if not step then
      if why then refused(why, number) end
      break
    end
    for _, story in ipairs(told) do story:step(step) end
    local meta
    meta, message = built:build(step)
    if meta then built:differences(step, meta) else assert(type(message) == "string" and #message < 600) end
  end
  for _, story in ipairs(told) do story:close(recording.after) end
  assert(recording.missing == nil or #recording.missing < 600)
  built:close()
end

local function write(text)
  local out = assert(io.open(PATH, "wb"))
  out:write(text)
  out:close()
end

-- What the edits start from must be right, or they would test nothing but its refusal.
for version, text in ipairs(RIGHT) do
  write(edits.apply(text, ""))
  local right = assert(reader.open(PATH, MAX_MEMORY))
  while right:next() do end
  assert(not right.failed and right.steps == version + 1, right.failed)
  assert((right.after ~= nil) == (version == 2))
  right:close()
end

return function(bytes)
  write(bytes:sub(1, 1) == "{" and bytes or edits.apply(RIGHT[#bytes % 2 + 1], bytes))
  local recording, message, code = reader.open(PATH, MAX_MEMORY)
  if not recording then return refused(message, code) end
  rebuild(recording, RULES[#bytes % #RULES + 1] or nil)
  recording:close()
end
