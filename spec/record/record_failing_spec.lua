-- A recording whose file takes no more from the k-th write on, for each k: it stops and says why, and the
-- engine serves on as if there were none.
local drivers = require "spec.support.driver"
local ffi = require "ffi"
local format = require "gdnmeta.record.format"
local gdn = require "gdnmeta"
local recordings = require "spec.support.recordings"

local WHY = "No space left on device"

-- A file that takes `writes` lines; what came is in `text`.
local function file_of(writes, at_flush)
  local file = { left = writes, text = "", closed = 0 }
  function file.write(_, line)
    if file.left <= 0 and not at_flush then return nil, WHY end
    file.line = line
    return true
  end
  function file.flush()
    if file.left <= 0 then return nil, WHY end
    file.left, file.text = file.left - 1, file.text .. file.line
    return true
  end
  function file.close() file.closed = file.closed + 1 end
  return file
end

-- Steps with rows and without, and events after the last one. The recording, or nil and why there is none.
local function play(file)
  local type_of = io.type
  local open = io.open
  local opened = stub(io, "open", function(name, ...)
    return name == "steps.jsonl" and file or open(name, ...)
  end)
  local typed = stub(io, "type", function(value) return value == file and "file" or type_of(value) end)
  local e = recordings.engine { policy = { order = "fcfs", admit = function(r) return r.id ~= "held" end } }
  local own = e.builder
  local recording, message, code = e:record "steps.jsonl"
  recordings.serve(e, 2)
  e:submit { id = "held", prompt_tokens = 9, max_tokens = 3 }
  for now = 3, 10 do assert(e:complete(assert(e:step(now)), now)) end
  e:cancel "held"
  local closed = recording and { recording:close() }
  opened:revert()
  typed:revert()
  assert.are.equal(e.stats.finished, 2)
  assert.is_false(e.recording)
  assert.is_true(rawequal(e.private.steps[1].builder, own))
  assert.are.equal(1, file.closed)
  if recording then
    assert.are.same(closed, { recording:close() })
    assert.are.equal(#file.text, recording.bytes)
  end
  e:close()
  return recording, message or closed[2], code
end

describe("A recording whose file takes no more", function()
  it("is whole where max_bytes are just enough, and not with one byte less", function()
    local path, whole = os.tmpname(), nil
    for _, more in ipairs { 1e6, 0, -1 } do
      local e = recordings.engine()
      local recording = assert(e:record(path, { max_bytes = whole and whole + more or nil }))
      recordings.serve(e, 3)
      e:submit { id = "last", prompt_tokens = 9, max_tokens = 3 } -- has a line of its own at the end
      recording:close()
      local bytes = #recordings.read(path)
      if not whole then
        -- Room for the end line is kept as if it were as long as it may be.
        local last = recordings.lines(recordings.read(path))
        whole = bytes - #last[#last] - 1 + format.END_BYTES
      else
        local lines = recordings.lines(recordings.read(path))
        assert.are.equal(more == 0, lines[#lines - 1]:find('"after"', 1, true) ~= nil)
        assert.are.same({ 3, nil }, { recording.steps, recording.stopped })
      end
      e:close()
    end
    local lines = recordings.lines(recordings.read(path))
    local upto = #table.concat(lines, "\n", 1, 4) + 1 + format.END_BYTES -- header and three steps
    for _, more in ipairs { 0, -1 } do
      local e = recordings.engine()
      local recording = assert(e:record(path, { max_bytes = upto + more }))
      recordings.serve(e, 3)
      assert.are.equal(more == 0 and 3 or 2, recording.steps)
      e:close()
    end
    os.remove(path)
  end)

  it("is none where there is no codec", function()
    local codec = stub(format, "json", function() return nil, "no cjson" end)
    local e = recordings.engine()
    assert.are.same({ nil, "no cjson", gdn.EINVAL }, { e:record "steps.jsonl" })
    assert.are.same({ nil, "no cjson", gdn.EINVAL }, { gdn.record.open "Makefile" })
    codec:revert()
    e:close()
  end)

  it("stops at a step whose tensors cannot be read", function()
    local driver, path = drivers.open "fake", os.tmpname()
    local steps = {}
    for n = 1, 60 do
      local e = recordings.engine({}, { device = "cuda" })
      local recording = assert(e:record(path))
      recordings.serve(e, 1)
      assert(e:submit { id = "next", prompt_tokens = 10, max_tokens = 4 })
      driver.lib.fake_fail(n, 719)
      local step = e:step(2)
      local call = ffi.string(driver.lib.fake_failed_call())
      driver.lib.fake_fail(0, 0)
      if call == "" then break end
      -- A step that is not built leaves no line, and stops nothing.
      if not step then assert.are.same({ 1, nil }, { recording.steps, recording.stopped }) end
      if step and recording.stopped then steps[#steps + 1] = recording.stopped end
      e:close()
    end
    assert.is_true(#steps > 0)
    for _, why in ipairs(steps) do
      assert.matches("^step 2: gdnmeta.record: .*CUDA_ERROR_LAUNCH_FAILED", why)
    end
    os.remove(path)
    driver:close()
  end)

  it("stops there and says why", function()
    local whole = file_of(1e9)
    local recording, message = play(whole)
    assert.are.same({ nil, nil }, { message, recording.stopped })
    local lines, said = recordings.lines(whole.text), {}
    assert.are.equal(9, #lines)
    for _, at_flush in ipairs { false, true } do
      local before = 0
      for k = 0, #lines - 1 do
        local file = file_of(k, at_flush)
        local code
        recording, message, code = play(file)
        assert.are.equal(table.concat(lines, "\n", 1, k) .. (k > 0 and "\n" or ""), file.text)
        if k == 0 then
          assert.are.same({ nil, WHY, gdn.EINVAL }, { recording, message, code })
        else
          assert.are.equal(message, recording.stopped)
          assert.is_truthy(tostring(recording):find(", stopped: " .. message .. ")", 1, true))
          local step = tonumber(message:match "^step (%d+): No space left on device$")
          assert.is_true(step and step >= before or message == WHY, message)
          before, said[k] = step or before, step or "end"
        end
      end
      assert.are.same({ 1, 2, 3, 4, 5, 6, "end", "end" }, said)
    end
  end)
end)
