-- make bench-cache: its lines, its exit status, and what it refuses before anything is replayed.
local programs = require "spec.support.program"

describe("make bench-cache #lua", function()
  local program, trace
  setup(function()
    program = programs.new()
    local lines, form = {}, '{"timestamp":%d,"input_length":1025,"output_length":1,"hash_ids":[0,%d,%d]}'
    for i = 1, 10 do -- five prompts twice each
      lines[i] = form:format(400 * i, i % 5 + 1, i + 10)
    end
    trace = program.write("trace.jsonl", table.concat(lines, "\n"))
  end)
  teardown(function() program.close() end)

  local function bench(caches, slots, kind)
    local form = "TRACE=%s CACHES='%s' SLOTS='%s' KIND=%s luajit bench/caches.lua >%s/out 2>%s/err; echo $?"
    local pipe = io.popen(form:format(trace, caches, slots, kind or "", program.folder, program.folder))
    local status = tonumber(pipe:read "*a")
    pipe:close()
    return program.read "out", program.read "err", status
  end

  it("prints a line a cache, and one for the best where there is a bound", function()
    local hit = 100 * 5 * 1024 / (10 * 1025)
    local most = 100 * (4 * 512 + 5 * 1024) / (10 * 1025)
    local out, err, status = bench("every_block last_block", "64 7", "agents")
    assert.are.equal("", err)
    assert.are.equal(("cache-bench trace.jsonl every_block slots 64 hit %.2f ceiling %.2f\n"
      .. "cache-bench trace.jsonl last_block slots 64 hit %.2f ceiling %.2f\n"
      .. "cache-bench trace.jsonl best every_block slots 64 hit %.2f want %.2f\n"
      .. "cache-bench trace.jsonl every_block slots 7 hit %.2f ceiling %.2f\n"
      .. "cache-bench trace.jsonl last_block slots 7 hit %.2f ceiling %.2f\n"):format(most, most, hit, most,
      most, most * 92 / 96.16, most, most, hit, most), out)
    assert.are.equal(0, status)
    out, err, status = bench("last_block", "64", "agents")
    assert.are.equal("", err)
    assert.matches("slots 64 hit [%d.]+ want [%d.]+ MISSED\n$", out)
    assert.are.equal(1, status)
  end)

  it("refuses with exit 2 what it cannot do, by name, before anything is replayed", function()
    for said, arguments in pairs {
      ["SLOTS: 0, want integers in 1 .. 4194304"] = { "gdsf", "64 0" },
      ["SLOTS: 6.5, want integers in 1 .. 4194304"] = { "gdsf", "64 6.5" },
      ["SLOTS: x, want integers in 1 .. 4194304"] = { "gdsf", "64 x" },
      ["no cache \"gdfs\", want one of"] = { "gdsf gdfs", "64" },
      ["KIND = chat, want agents"] = { "gdsf", "64", "chat" },
    } do
      local out, err, status = bench(unpack(arguments))
      assert.are.equal("", out)
      assert.truthy(err:find("^cache%-bench: ") and err:find(said, 1, true) and not err:find "\n.", err)
      assert.are.equal(2, status)
    end
  end)

  it("replays by a cache that remembers nothing of the replay before", function()
    local path = program.write("once.lua", [[
      local calls = 0
      return { checkpoints = function(r)
        calls = calls + 1
        return calls <= 10 and { r.prompt_end } or {} -- of a replay's ten requests
      end }]])
    local out, err = bench(path, "64 64")
    assert.are.equal("", err)
    local hits = {}
    for hit in out:gmatch "jsonl once.lua slots 64 hit ([%d.]+)" do hits[#hits + 1] = hit end
    assert.are.same({ "49.95", "49.95" }, hits)
  end)

  it("exits 2 where a hook fails, with the cache's name", function()
    local path = program.write("none.lua", "return { worth = function() end }")
    local _, err, status = bench(path, "1")
    assert.are.equal("cache-bench: cache none.lua: worth left values[1] = nan, want a number\n", err)
    assert.are.equal(2, status)
  end)
end)
