-- Recordings: a file that was cut, or tampered with, can neither lie nor crash.
local cjson = require "cjson"
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local random_config = require "spec.support.random_config"
local rebuilds = require "gdnmeta.record.rebuild"
local recordings = require "spec.support.recordings"
local until_met = require "spec.support.until_met"

local CASES = tonumber(os.getenv "GDN_CASES") or 2000
local SEED = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24

local lines, read, walk, write = recordings.lines, recordings.read, recordings.walk, recordings.write

describe("A recording", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("that was cut anywhere is read up to the last whole line, and says what is missing", function()
    recordings.short(path, 3)
    local text = read(path)
    local ends, steps = {}, 0
    for at in text:gmatch "()\n" do ends[#ends + 1] = at end
    for bytes = 0, #text - 1 do
      write(path, text:sub(1, bytes))
      local n, missing, message = walk(path)
      local whole = 0
      while ends[whole + 1] and ends[whole + 1] <= bytes do whole = whole + 1 end
      local rest = bytes - (ends[whole] or 0)
      if whole == 0 then
        local why = bytes == 0 and "empty, want a header" or "cut in its header"
        assert.are.equal(("%s:1: %s"):format(path, why), message)
      else
        assert.are.same({ whole - 1 }, { n, message })
        steps = steps + n
        assert.are.equal(rest == 0
          and ("no end line after line %d: truncated there, or still being written"):format(whole)
          or ("truncated in line %d after %d bytes"):format(whole + 1, rest),
          missing)
      end
    end
    assert.is_true(steps > 1000)
  end)

  describe("that was tampered with", function()
    local text, documents

    before_each(function()
      recordings.short(path, 3)
      text, documents = lines(read(path)), {}
      for i, line in ipairs(text) do documents[i] = cjson.decode(line) end
    end)

    it("is refused where a step in which nothing ran lies", function()
      for line, wanted in pairs {
        ['{"empty":0,"now":1}'] = "empty = 0, want an integer in 1 .. 9007199254740992",
        ['{"empty":"a","now":1}'] = 'empty = "a", want an integer in 1 .. 9007199254740992',
        ['{"empty":1}'] = "now = nil, want seconds in -2^53 .. 2^53",
        ['{"empty":1,"now":1,"query_len":[1]}'] = 'unknown field "query_len"',
        ['{"empty":1,"now":1,"waits":[7],"why":["luck"]}'] = 'why[0] = "luck", want a reason to wait',
        ['{"empty":1,"now":1,"who":[7]}'] = "did = nil, want a list of 1",
      } do
        write(path, ("%s\n%s\n%s\n"):format(text[1], line, table.concat(text, "\n", 2)))
        assert.are.same({ 0, path .. ":2: " .. wanted }, { walk(path), (select(3, walk(path))) })
      end
      write(path, ('%s\n{"empty":1,"now":0,"waiting":0}\n%s\n'):format(text[1], table.concat(text, "\n", 2)))
      local n, missing, message = walk(path)
      assert.are.same({ 3 }, { n, missing, message })
    end)

    local function refusal(number, document)
      local list = {}
      for i, line in ipairs(text) do list[i] = line end
      list[number] = type(document) == "string" and document or cjson.encode(document)
      write(path, table.concat(list, "\n") .. "\n")
      local _, _, message = walk(path)
      assert.is_truthy(message, "was accepted")
      local prefix = ("%s:%d: "):format(path, number)
      assert.are.equal(prefix, message:sub(1, #prefix))
      assert.is_true(#message < 500, message)
      assert.is_nil(message:find "%c", message)
      return message:sub(#prefix + 1)
    end

    local HOSTILE = {
      { "half a line", 3, '{"step":2,"now',
        "Expected object key string but found unexpected end of string at character 15" },
      { "binary", 3, "\0\1\2\255\254", "JSON parser does not support UTF-16 or UTF-32" },
      { "no object", 3, "17", "the line = 17, want an object" },
      { "deep nesting", 3, ("["):rep(100000), "Found too many nested data structures (5) at character 5" },
      { "deep nesting of objects", 3, ('{"a":'):rep(5000),
        "Found too many nested data structures (5) at character 21" },
      { "a number that is none", 3, '{"step":NaN}', "Expected value but found invalid token at character 9" },
      { "a line without an end", 3, ("x"):rep(2 ^ 22 + 1),
        "longer than the 4194304 bytes that a line may have" },
      { "an early end", 3, '{"end":"closed","steps":3}', 'steps = 3, want 1, the steps before it' },
      { "an end without a reason", 5, '{"end":7,"steps":3}', "end = 7, want a reason" },
      { "an empty object", 3, "{}", "step = nil, want an integer in 1 .. 9007199254740992" },
      { "no header", 1, '{"step":1}', "no recording of gdnmeta" },
      { "a later version", 1, '{"gdnmeta":"record","version":3}',
        "version = 3, want an integer in 1 .. 2, the ones this program reads" },
    }
    for _, case in ipairs(HOSTILE) do
      it("is refused for " .. case[1] .. ", with the line", function()
        assert.are.equal(case[4], (refusal(case[2], case[3])))
      end)
    end

    -- What is edited, the message: `step` stands for the second step's line, the others are the header's.
    local EDITS = {
      { "step", "ids", { 1 }, "ids has 1 elements, want 2" },
      { "step", "ids", { 1, { 2 } }, "ids[1] = a table, want a number or a string of at most 200 bytes" },
      { "step", "who", { ("x"):rep(201) }, ('who[0] = "%s...", want a number or a string of at most '
        .. "200 bytes"):format(("x"):rep(60)) },
      { "step", "did", { "came", "came", "came" }, "did = a table, want a list of 2" },
      { "step", "waits", { 1 }, "why = nil, want a list of 1" },
      { "step", "waiting", -1, "waiting = -1, want an integer in 0 .. 2147483648" },
      { "step", "query_len", "x", "query_len has 0 elements, want 1 .. 4" },
      { "step", "query_len", { 1, 1, 1, 1, 1 }, "query_len has 5 elements, want 1 .. 4" },
      { "step", "query_len", { 2 ^ 31 - 1, 2 ^ 31 - 1 }, "query_len adds up to 4294967294, want at most 64" },
      { "step", "query_len", { 1, -1 }, "query_len[1] = -1, want an integer in 0 .. 2147483647" },
      { "step", "seq_len", { 1e300, 1 },
        "seq_len[0] = 1e+300, want an integer in -2147483648 .. 2147483647" },
      { "step", "seq_len", { 1.5, 1 }, "seq_len[0] = 1.5, want an integer in -2147483648 .. 2147483647" },
      { "step", "seq_len", { 1 }, "seq_len has 1 elements, want 2" },
      { "step", "seq_len", nil, "seq_len = nil, want a list of 2" },
      { "step", "drafts", false, "drafts = false, want a list of 2" },
      { "step", "drafts", cjson.null, "drafts = null, want a list of 2" },
      { "step", "accepted", { "1", 1 }, 'accepted[0] = "1", want an integer in -2147483648 .. 2147483647' },
      { "step", "prompt_done", { 2, 0 }, "prompt_done[0] = 2, want an integer in 0 .. 1" },
      { "step", "table_row", { 0, 4 }, "table_row[1] = 4, want an integer in 0 .. 3" },
      { "step", "table_row", { -1, 1 }, "table_row[0] = -1, want an integer in 0 .. 3" },
      { "step", "table_row", { 1, 1 }, "table_row[1] = 1, want another than row 0 has" },
      { "step", "read_column", { 1, 0 }, "read_column[0] = 1, want an integer in -1 .. 0" },
      { "step", "blocks", { { 1, 2 } }, "blocks = a table, want a list of 2 lists, one per group" },
      { "step", "blocks", { { 1, 2 }, { 1 } }, "blocks[1] has 1 elements, want 2" },
      { "step", "blocks", { { 1, 2 }, 7 }, "blocks[1] = 7, want a list of 2" },
      { "step", "blocks", { { 1, 2 }, { 1, 2 ^ 31 } },
        "blocks[1][1] = 2147483648, want an integer in 0 .. 2147483647" },
      { "step", "read_blocks", {}, "read_blocks = a table, want a list of 2 lists, one per group" },
      { "step", "checkpoint_len", { 1 }, "checkpoint_len has 1 elements, want 2" },
      { "step", "checkpoint_len", { 0, -1 }, "checkpoint_len[1] = -1, want an integer in 0 .. 2147483647" },
      { "step", "checkpoint_len", { 0, 5 }, "checkpoint_slot = nil, want a list of 2 lists, one per group" },
      { "step", "checkpoint_slot", { { 0, 1 }, { 0, 1 } },
        "checkpoint_slot without checkpoint_len, want both or neither" },
      { "step", "padded_rows", 5, "padded_rows = 5, want an integer in 2 .. 4" },
      { "step", "padded_tokens", 1e18, "padded_tokens = 1e+18, want an integer in 11 .. 64" },
      { "step", "step", 0, "step = 0, want an integer in 1 .. 9007199254740992" },
      { "step", "now", 1e300, "now = 1e+300, want seconds in -2^53 .. 2^53" },
      { "step", "graph", "x\27[31m", [[graph = "x\27[31m", want "eager", "piecewise" or "full"]] },
      { "step", "counts", { 1 }, "counts has 1 elements, want 12" },
      { "step", "sums", 3, "sums = 3, want an object" },
      { "step", "sums", { x = { "0" } }, 'sums: unknown field "x"' },
      { "step", "sums", { spec_query_start_loc = { "0" } },
        'sums.spec_query_start_loc[0] = "0", want 16 hexadecimal digits' },
      { "step", "sums", { spec_state_indices_tensor = { ("0"):rep(16) } },
        "sums.spec_state_indices_tensor = a table, want a list of 2" },
      { "step", "mine", 3, 'unknown field "mine"' },
      { "step", ("x"):rep(1000), 3, ('unknown field "%s..."'):format(("x"):rep(60)) },
      { "builder", "max_rows", nil, "builder.max_rows is missing" },
      { "builder", "max_rows", cjson.null, "builder.max_rows is missing" },
      { "builder", "max_rows", 1e9, "builder: max_rows = 1000000000, want an integer in 1 .. 65536" },
      { "builder", "rules", "loose",
        'builder: rules = "loose", want "strict", "vllm-2026-04", "vllm-2026-08" or "vllm-2026-11"' },
      { "builder", "num_groups", 65, "builder: num_groups = 65, want an integer in 1 .. 64" },
      { "builder", "num_groups", 3, "builder: num_slots has 2 elements, want 3" },
      { "builder", "num_slots", 5, "builder.num_slots = 5, want a list with one per group" },
      { "builder", "num_slots", { 5, 2 ^ 31 - 1 },
        "builder: needs up to 8192 MiB of memory, want at most 1024" },
      { "builder", "max_num_batched_tokens", 2 ^ 31 - 1,
        "builder: needs up to 40960 MiB of memory, want at most 1024" },
      { "builder", "max_requests", 2 ^ 31 - 1,
        "builder: needs up to 16384 MiB of memory, want at most 1024" },
      { "builder", "max_blocks_per_row", 2 ^ 31 - 1,
        "builder: needs up to 131072 MiB of memory, want at most 1024" },
      { "builder", "device", "\27[2J", [[builder.device = "\27[2J", want a name]] },
      { "builder", "mine", 1, 'builder: unknown field "mine"' },
      { "builder", "check", true, 'builder: unknown field "check"' },
      { "builder", "max_cudagraph_capture_size", "x",
        'builder: max_cudagraph_capture_size = "x", want an integer in 1 .. 2147483647' },
      { "builder", "checkpoint_any", 3, "builder: checkpoint_any = 3, want true or false" },
      { "builder", "gdn_prefill_backend", "x",
        'builder: gdn_prefill_backend = "x", want "triton" or "flashinfer"' },
      { "engine", "policy", nil, "engine.policy = nil, want a name" },
      { "engine", "policy", ("p"):rep(201), ('engine.policy = "%s...", want a name'):format(("p"):rep(60)) },
      { "engine", "max_model_len", -1, "engine.max_model_len = -1, want an integer in 0 .. 2147483647" },
      { "engine", "async", 1, "engine.async = 1, want true or false" },
      { "engine", "mine", 1, 'engine: unknown field "mine"' },
    }
    for _, edit in ipairs(EDITS) do
      local where, name, value, message = edit[1], edit[2], edit[3], edit[4]
      it(("is refused: %s"):format(message), function()
        local number = where == "step" and 3 or 1
        local document = documents[number]
        local target = where == "step" and document or document[where]
        target[name] = value
        assert.are.equal(message, (refusal(number, document)))
      end)
    end

    it("may leave out the capture size, by null too", function()
      documents[1].builder.max_cudagraph_capture_size = cjson.null
      write(path, cjson.encode(documents[1]) .. "\n")
      local reader = assert(gdn.record.open(path))
      assert.is_nil(reader.header.builder.max_cudagraph_capture_size)
      reader:close()
    end)

    it("is refused where the engine is no object", function()
      documents[1].engine = 5
      write(path, cjson.encode(documents[1]) .. "\n")
      assert.are.same({ nil, path .. ":1: engine = 5, want an object", gdn.EINVAL },
                      { gdn.record.open(path) })
    end)

    it("is refused where something comes after the end", function()
      write(path, table.concat(text, "\n") .. "\n" .. text[2] .. "\n")
      assert.are.equal(path .. ":6: comes after the end", (select(3, walk(path))))
      write(path, table.concat(text, "\n") .. "\nmore")
      assert.are.equal(path .. ":6: comes after the end", (select(3, walk(path))))
      write(path, table.concat(text, "\n") .. "\nmore\n")
      assert.matches("^" .. path:gsub("%p", "%%%0") .. ":6: Expected ", (select(3, walk(path))))
    end)

    it("is opened by a path, and within memory", function()
      raises("gdnmeta.record.open: path = nil, want a string", function() gdn.record.open() end)
      raises(("gdnmeta.record.open: path = %q, want a path without NUL bytes"):format(path .. "\0x"),
             function() gdn.record.open(path .. "\0x") end)
      raises('gdnmeta.record.open: max_memory = "1", want a number of bytes above 0',
             function() gdn.record.open(path, "1") end)
      raises("gdnmeta.record.open: max_memory = nan, want a number of bytes above 0",
             function() gdn.record.open(path, 0 / 0) end)
    end)

    it("goes on being refused", function()
      write(path, text[1] .. "\n[1]\n" .. text[2] .. "\n")
      local reader = assert(gdn.record.open(path))
      local first = { reader:next() }
      assert.are.same({ nil, path .. ":2: unknown field 1", gdn.EINVAL }, first)
      assert.are.same(first, { reader:next() })
      reader:close()
    end)

    -- Whatever is accepted is built, under every rule set: memory must be safe, and nothing may raise.
    it("never crashes, at random", function()
      local good, rand = table.concat(text, "\n") .. "\n", random_config.rng(SEED)
      local DIGITS = { "0", "-1", "1e9", "2147483647", "2147483648", "-2147483648", "1e400", '"x"', "null",
                       "[]", "{}", "true", "0.5", "64", "5" }
      local RULES = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" }
      local function mutate(case)
        local at = rand(1, #good)
        local kind = case % 4
        if kind == 0 then return good:sub(1, at - 1) .. string.char(rand(0, 255)) .. good:sub(at + 1) end
        if kind == 1 then return good:sub(1, at - 1) .. good:sub(at + rand(1, 30)) end
        local from, to = good:find("%-?%d+", at)
        if not from then return good end
        return good:sub(1, from - 1) .. DIGITS[rand(1, #DIGITS)] .. good:sub(to + 1)
      end
      until_met(1, CASES, { accepted = CASES / 2 }, function(case, met)
        write(path, mutate(case))
        local rebuild
        local where = ("GDN_SEED=%d case %d"):format(SEED, case)
        local ok, why = pcall(walk, path, function(step, reader)
          rebuild = rebuild or rebuilds.new(reader.header, "cpu", RULES[case % 3 + 1]) or nil
          local meta = rebuild and rebuild:build(step)
          if meta then
            rebuild:differences(step, meta)
            met.accepted = met.accepted + 1
          end
        end)
        assert.is_true(ok, where .. ": " .. tostring(why))
        if rebuild then rebuild:close() end
      end)
    end)
  end)

  it("of an endless line or a folder is refused at once", function()
    write(path, ("\0"):rep(2^22 + 1))
    assert.are.same({ nil, path .. ":1: longer than the 4194304 bytes that a line may have", gdn.EINVAL },
                    { gdn.record.open(path) })
    assert.are.same({ nil, "spec:1: Is a directory", gdn.EINVAL }, { gdn.record.open "spec" })
    assert.are.same({ nil, "nowhere: No such file or directory", gdn.EINVAL }, { gdn.record.open "nowhere" })
  end)
end)
