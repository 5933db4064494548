-- Recordings at the bounds of what a line and a file may have, what is not recorded at all, and requests that
-- are turned away.
local cjson = require "cjson"
local builders = require "gdnmeta.builder"
local checksum = require "gdnmeta.record.checksum"
local format = require "gdnmeta.record.format"
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local headers = require "gdnmeta.record.header"
local rebuild = require "gdnmeta.record.rebuild"
local recordings = require "spec.support.recordings"
local step_line = require "gdnmeta.record.step_line"

local bytes = gdn.array_of "uint8_t"
local arrays = { int32 = gdn.array_of "int32_t", int64 = gdn.array_of "int64_t", bool = bytes, uint8 = bytes }

describe("At its bounds a recording", function()
  local path
  local most = format.MAX_LINE
  before_each(function() path = os.tmpname() end)
  after_each(function()
    format.MAX_LINE = most
    os.remove(path)
  end)

  -- Two steps with a row, one without in which a request came, one with the row again, and what came after.
  local function play()
    local e = recordings.engine { policy = { order = "fcfs", admit = function(r) return r.id ~= "held" end } }
    local recording = assert(e:record(path))
    assert(e:submit { id = 1, prompt_tokens = 3, max_tokens = 2 })
    for now = 1, 2 do assert(e:complete(assert(e:step(now)), now)) end
    assert(e:submit { id = "held", prompt_tokens = 3, max_tokens = 2 })
    assert(e:step(3))
    assert(e:submit { id = ("long"):rep(60), prompt_tokens = 3, max_tokens = 9 })
    assert(e:complete(assert(e:step(4)), 4))
    for n = 1, 30 do assert(e:submit { id = ("after"):rep(20) .. n, prompt_tokens = 3, max_tokens = 9 }) end
    recording:close()
    e:close()
    return recording, recordings.lines(recordings.read(path))
  end

  it("has lines as long as a line may be, and none that is longer", function()
    local _, lines = play()
    assert.are.equal(7, #lines) -- header, four steps, what came after, end
    local stopped = 0
    for k = 2, 5 do
      for less = 0, 1 do
        format.MAX_LINE = #lines[k] + 1 - less
        local recording, now = play()
        local longest = 0
        for i = 2, k - 1 do longest = math.max(longest, #lines[i] + 1) end
        if longest <= format.MAX_LINE then
          local why = ("step %d takes %d bytes, a line has at most %d"):format(k - 1, #lines[k] + 1,
            format.MAX_LINE)
          if less == 1 then
            assert.are.equal(why, recording.stopped)
            assert.are.equal(why, cjson.decode(now[#now])["end"])
            stopped = stopped + 1
          else
            assert.is_nil((recording.stopped or ""):find("step " .. k - 1, 1, true))
          end
        end
      end
    end
    assert.is_true(stopped > 1)
    for less = 0, 1 do -- what came after has a line, or none
      format.MAX_LINE = #lines[6] + 1 - less
      local recording, now = play()
      assert.are.same({ less == 0 and 7 or 6, nil }, { #now, recording.stopped })
    end
  end)

  it("has room for its header and its end at least", function()
    play()
    local header = recordings.lines(recordings.read(path))[1]
    local least = #header + 1 + format.END_BYTES
    for _, less in ipairs { 0, 1, least - 1 } do
      local e = recordings.engine { policy = { order = "fcfs", admit = function() return true end } }
      local recording, message, code = e:record(path, { max_bytes = least - less })
      if less == 0 then
        assert.is_truthy(recording)
        recording:close()
      else
        local want = ("max_bytes = %d, want at least %d for header and end"):format(least - less, least)
        assert.are.same({ nil, want, gdn.EINVAL }, { recording, message, code })
      end
      e:close()
    end
  end)

  it("has at most 2^53 bytes", function()
    local e = recordings.engine()
    for _, wrong in ipairs { 0, -1, 0.5, 2 ^ 53 + 2, 3 ^ 53, "1" } do
      local ok, message = pcall(e.record, e, path, { max_bytes = wrong })
      assert.is_false(ok)
      assert.matches("max_bytes = .*, want an integer in 1 %.%. 2%^53$", message)
    end
    assert.is_true(assert(e:record(path, { max_bytes = 2 ^ 53 })):close())
    local recording = assert(e:record(path))
    assert.are.equal(64 * 1024 * 1024, recording.max_bytes)
    recording:close()
    e:close()
  end)

  it("is none of an engine whose tables are borrowed since it was made", function()
    for group = 0, 1 do
      local e = recordings.engine()
      local private = e.private
      private.builder.table_rows[group] = 4
      local want = ("group %d borrows its table, want its own"):format(group)
      assert.are.same({ nil, want, gdn.EINVAL }, { e:record(path) })
      private.builder.table_rows[group] = nil
      assert.is_truthy(e:record(path))
      local again = ("already recording to %s"):format(path)
      assert.are.same({ nil, again, gdn.EINVAL }, { e:record(path) })
      e:close()
    end
  end)

  it("says what it is: open, closed or stopped", function()
    for _, stops in ipairs { false, true } do
      local e = recordings.engine()
      local recording = assert(e:record(path, { max_bytes = stops and 2000 or nil }))
      local at = tostring(recording)
      assert.are.equal(("gdnmeta.Recording(%s, 0 steps, %d bytes)"):format(path, recording.bytes), at)
      recordings.serve(e, 9)
      recording:close()
      assert.are.equal(("gdnmeta.Recording(%s, %d steps, %d bytes, %s)"):format(path, recording.steps,
        recording.bytes, stops and "stopped: " .. recording.stopped or "closed"), tostring(recording))
      e:close()
    end
  end)

  it("begins with the requests that wait already, in their order", function()
    for n = 0, 3 do
      local e = recordings.engine()
      for id = 1, n do assert(e:submit { id = id, prompt_tokens = 3, max_tokens = 2 }) end
      local recording = assert(e:record(path))
      assert(e:submit { id = "later", prompt_tokens = 3, max_tokens = 2 })
      assert(e:step(1))
      recording:close()
      e:close()
      local seen = {}
      recordings.walk(path, function(step)
        for k, id in ipairs(step.who) do
          if step.did[k] == "came" then seen[#seen + 1] = id end
        end
      end)
      local want = {}
      for id = 1, n do want[id] = id end
      want[n + 1] = "later"
      assert.are.same(want, seen)
    end
  end)

  it("says why each request was turned away", function()
    local e = recordings.engine { policy = { step = function(view, plan)
      for i in view:waiting() do
        local id = view:request(i).id
        if id ~= "stays" then plan:reject(i, "because of " .. id) else plan:skip(i) end
      end
    end } }
    local recording = assert(e:record(path))
    for _, id in ipairs { "a", "stays", ("b"):rep(300), "c" } do
      assert(e:submit { id = id, prompt_tokens = 3, max_tokens = 2 })
    end
    assert(e:step(1))
    recording:close()
    e:close()
    local seen = {}
    recordings.walk(path, nil, function(line)
      for k, id in ipairs(line.who or {}) do
        if line.did[k] ~= "came" then seen[#seen + 1] = id .. " " .. line.did[k] end
      end
    end)
    local cut = ("b"):rep(197) .. "..."
    local long = ("rejected: because of " .. ("b"):rep(300)):sub(1, 200)
    assert.are.same({ "a rejected: because of a", cut .. " " .. long, "c rejected: because of c" }, seen)
  end)

  it("counts an attention cache of blocks in tokens, up to 2^31 - 1", function()
    for blocks, tokens in pairs { [2 ^ 10] = 2 ^ 30, [2 ^ 11 - 1] = (2 ^ 11 - 1) * 2 ^ 20,
                                  [2 ^ 11] = 2 ^ 31 - 1, [2 ^ 11 + 1] = 2 ^ 31 - 1 } do
      local e = recordings.engine { kv_blocks = blocks, kv_block_size = 2 ^ 20 }
      local recording = assert(e:record(path))
      recording:close()
      e:close()
      assert.are.equal(tokens, assert(gdn.record.open(path)).header.engine.kv_tokens)
    end
  end)

  it("takes a restored state of a row that begins with tokens alone", function()
    local e = recordings.engine({}, { max_num_batched_tokens = 8 })
    local recording = assert(e:record(path))
    assert(e:submit { id = 1, prompt_tokens = 12, max_tokens = 2 })
    assert(e:submit { id = 2, prompt_tokens = 3, max_tokens = 2 })
    for now = 1, 3 do assert(e:complete(assert(e:step(now)), now)) end
    recording:close()
    e:close()
    local lines = recordings.lines(recordings.read(path))
    local facts, judged = cjson.decode(lines[1]).builder, {}
    local slots = cjson.decode(lines[2])
    slots.checkpoint_slot = { {}, {} }
    assert.are.same({ nil, "checkpoint_slot without checkpoint_len, want both or neither" },
      { step_line.parse(slots, facts) })
    for k = 2, 4 do
      local n = #cjson.decode(lines[k]).query_len
      for row = 1, n do
        local d = cjson.decode(lines[k])
        d.restored = {}
        for i = 1, n do d.restored[i] = i == row and 1 or 0 end
        local first = d.seq_len[row] == d.query_len[row]
        local _, message = step_line.parse(d, facts)
        assert.are.equal(first and ("restored[%d] = 1, want 0 for a row that begins with no tokens"):format(
          row - 1) or nil, message)
        judged[#judged + 1] = first
      end
    end
    assert.is_true(#judged > 3)
  end)

  it("has as many words of requests as requests, and none without them", function()
    for _, names in ipairs { { "who", "did" }, { "waits", "why" } } do
      local word = names[1] == "who" and "came" or "kv"
      for n = 0, 2 do
        for words = 0, 2 do
          local line = { empty = 1, now = 0 }
          for k = 1, n do line[names[1]] = line[names[1]] or {} line[names[1]][k] = k end
          for k = 1, words do line[names[2]] = line[names[2]] or {} line[names[2]][k] = word end
          assert.are.equal(n == words, step_line.empty_problem(line) == nil, ("%d %d"):format(n, words))
        end
      end
    end
  end)

  it("has numbers of 14 digits", function()
    local line = format.line(format.json(), { "a", "b", "c" }, { a = 1 / 3, b = 1e14 - 1, c = 1 - 2 ^ -40 })
    assert.are.equal('{"a":0.33333333333333,"b":99999999999999,"c":0.99999999999909}\n', line)
  end)

  it("has sums of tensors of each type, byte by byte as FNV-1a says", function()
    local numbers = { int32 = 0, int64 = 1, bool = 2, uint8 = 3 }
    for dtype, number in pairs(numbers) do
      for _, shape in ipairs { { 0 }, { 3 }, { 2, 2 } } do
        local n = shape[1] * (shape[2] or 1)
        local view = { dtype = dtype, shape = shape, data = arrays[dtype](n + 1) }
        local sum, list = 0xcbf29ce484222325ULL, { number, #shape, unpack(shape) }
        for i = 0, n - 1 do
          view[i + 1], view.data[i] = true, dtype == "bool" and i % 2 or 250 + i
          list[#list + 1] = tonumber(view.data[i])
        end
        for _, value in ipairs(list) do sum = bit.bxor(sum, 0ULL + value) * 0x100000001b3ULL end
        assert.are.equal(bit.tohex(sum), checksum.tensor({ device = "cpu" }, view))
      end
    end
  end)

  it("is built anew by no builder that is refused, or has no batch", function()
    local header = { builder = { device = "cpu", rules = "strict", num_groups = 1 } }
    local refused = stub(builders, "new", function() return nil, "why", -3 end)
    local results = { rebuild.new(header, "cpu") }
    refused:revert()
    assert.are.same({ nil, "why", -3 }, results)
    local closed = 0
    local without = { batch = function() return nil, "no batch", -4 end }
    function without.close() closed = closed + 1 end
    refused = stub(builders, "new", function() return without end)
    results = { rebuild.new(header, "cpu") }
    refused:revert()
    assert.are.same({ { nil, "no batch", -4 }, 1 }, { results, closed })
  end)

  it("is read with as much memory as its builder takes at least", function()
    local lines = {}
    local base = { num_speculative_tokens = 0, max_num_seqs = 4, max_rows = 4, max_num_batched_tokens = 64,
                   num_groups = 1, max_blocks_per_row = 3, max_requests = 4, num_slots = { 9 } }
    for _, change in ipairs { {}, { num_speculative_tokens = 1 }, { num_speculative_tokens = 3 },
                              { max_num_seqs = 5, max_rows = 7 }, { max_cudagraph_capture_size = 2 },
                              { max_cudagraph_capture_size = 512, num_speculative_tokens = 2 },
                              { max_num_batched_tokens = 6 }, { max_num_batched_tokens = 600 },
                              { num_groups = 3, num_slots = { 5, 9, 7 } },
                              { num_groups = 3, num_slots = { 5, 9, 7 }, check_unique = true },
                              { max_blocks_per_row = 11 }, { max_requests = 30 }, { max_rows = 40 } } do
      local o, words = {}, {}
      for name, value in pairs(base) do o[name] = value end
      for name, value in pairs(change) do
        o[name] = value
        local text = type(value) == "table" and table.concat(value, ",") or tostring(value)
        words[#words + 1] = name .. " " .. text
      end
      table.sort(words)
      lines[#lines + 1] = ("%s: %.0f"):format(table.concat(words, ", "), headers.memory(o))
    end
    golden("record_memory", table.concat(lines, "\n") .. "\n")
  end)
end)
