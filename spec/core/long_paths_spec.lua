-- Messages show a path of 200 bytes whole, and of a longer one the first 200 bytes.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

-- Another name of the same file, of so many bytes. Without /./ in it at its end, where its name is.
local function padded(path, bytes)
  local folder, name = path:match "^(.*)(/[^/]*)$"
  local fill = bytes - #path
  return folder .. "/" .. ("./"):rep(fill / 2) .. (fill % 2 == 1 and "/" or "") .. name:sub(2)
end

local function message_of(_, message) return message end

local FOLDER = {}

-- What the file holds, and what is said of it.
local CASES = {
  { "a policy that is a folder", FOLDER, function(path) return message_of(gdn.policy(path)) end },
  { "a policy that raises", "error 'x'", function(path) return message_of(gdn.policy(path)) end },
  { "a policy with an unknown field", "return { nope = 1 }",
    function(path) return message_of(gdn.policy(path)) end },
  { "a log that is a folder", FOLDER, function(path) return message_of(gdn.sim.fit(path)) end },
  { "a recording that is none", "x\n", function(path) return message_of(gdn.record.open(path)) end },
  { "a recording under way", "", function(path)
    local engine = serve.engine "fcfs"
    local recording = assert(engine:record(path))
    local shown = tostring(recording)
    engine:close()
    return shown
  end },
  { "a second recording", "", function(path)
    local engine = serve.engine "fcfs"
    assert(engine:record(path))
    local message = message_of(engine:record(path))
    engine:close()
    return message
  end },
}

describe("A message about a file", function()
  for _, case in ipairs(CASES) do
    it("has 200 bytes of its path: " .. case[1], function()
      local path = os.tmpname()
      os.remove(path)
      if case[2] == FOLDER then
        assert.are.equal(0, os.execute("mkdir " .. path))
      else
        local file = assert(io.open(path, "wb"))
        file:write(case[2])
        file:close()
      end
      local whole, longer = padded(path, 200), padded(path, 201)
      assert.are.same({ 200, 201 }, { #whole, #longer })
      local message = case[3](whole)
      assert.is_truthy(message:find(whole, 1, true), message)
      message = case[3](longer)
      assert.is_truthy(message:find(longer:sub(1, 200) .. "...", 1, true), message)
      os.remove(path)
    end)
  end
end)
