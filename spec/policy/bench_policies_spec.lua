-- make bench-policies: its lines, its exit status, and the scenarios that are quick enough to run here.
local programs = require "spec.support.program"
local scenarios = require "bench.scenario"

describe("make bench-policies #lua", function()
  local program
  setup(function() program = programs.new() end)
  teardown(function() program.close() end)

  local function bench(arguments, before)
    local pipe = io.popen(("%s luajit bench/policies.lua %s >%s/out 2>%s/err; echo $?"):format(
      before or "", arguments, program.folder, program.folder))
    local status = tonumber(pipe:read "*a")
    pipe:close()
    return program.read "out", program.read "err", status
  end

  local function scenario(name, body, fields)
    return program.write(name .. ".lua", ("return { about = 'a test', %s run = function(s) %s end }"):format(
      fields or "", body))
  end

  it("prints a line a figure with its bound, and exits 0 where all are kept", function()
    local path = scenario("kept", "s:report('wait_ms', 12.3456, '<=', 20) s:report('ratio', 3, '>=', 3)")
    local out, err, status = bench(path)
    assert.are.equal("policy-bench kept wait_ms 12.35 want <= 20\npolicy-bench kept ratio 3 want >= 3\n"
      .. "policy-bench: 1 scenarios, 0 missed a bound, 0 failed, 0 skipped for want of a trace\n", out)
    assert.are.equal("", err)
    assert.are.equal(0, status)
  end)

  it("says MISSED and exits 1 where one is not, after running the others", function()
    for _, miss in ipairs { "21, '<=', 20", "19, '>=', 20", "0/0, '<=', 20", "0/0, '>=', 20" } do
      local path = scenario("missed", ("s:report('wait_ms', %s) s:report('steps', 1, '<=', 2)"):format(miss))
      local out, _, status = bench(path .. " " .. scenario("kept", "s:report('n', 1, '<=', 1)"))
      assert.matches("\n?policy%-bench missed wait_ms [%-nan%d]+ want [<>]= 20   MISSED\n", out)
      assert.matches("policy%-bench missed steps 1 want <= 2\n", out)
      assert.matches("policy%-bench kept n 1 want <= 1\n", out)
      assert.matches("2 scenarios, 1 missed a bound, 0 failed, 0 skipped", out)
      assert.are.equal(1, status)
    end
  end)

  it("exits 2 where a scenario fails, has no figure or is not there", function()
    for _, path in ipairs { scenario("fails", "error 'oh'"), scenario("silent", "return s"), "no_such" } do
      local out, err, status = bench(path)
      assert.matches("1 scenarios, 0 missed a bound, 1 failed", out)
      assert.matches("^policy%-bench %w+_?%w* failed: ", err)
      assert.are.equal(2, status)
    end
  end)

  it("skips a scenario whose trace is not there, and says so", function()
    local path = scenario("recorded", "s:report('n', 1, '<=', 1)", "traces = { 'some.csv' },")
    local out, _, status = bench(path, "TRACES=" .. program.folder)
    assert.matches("^policy%-bench recorded SKIPPED: " .. program.folder:gsub("%p", "%%%0")
      .. "/some%.csv is not there", out)
    assert.matches("0 failed, 1 skipped for want of a trace\n$", out)
    assert.are.equal(0, status)
    program.write("some.csv", "")
    assert.matches("policy%-bench recorded n 1 want <= 1\n", (bench(path, "TRACES=" .. program.folder)))
  end)

  it("knows every file of bench/policies, and each says what it shows", function()
    local listed = bench "--list"
    local pipe, count = io.popen "find bench/policies -name '*.lua'", 0
    for path in pipe:lines() do
      local name = path:match "([^/]*)%.lua$"
      assert.matches("\n" .. name .. " +%S", "\n" .. listed)
      count = count + 1
    end
    pipe:close()
    assert.are.equal(count, #scenarios.names())
    assert.is_true(count > 0)
  end)

  it("keeps the bounds of the light ones", function()
    local light = {}
    for _, name in ipairs(scenarios.names()) do
      if scenarios.load(name).light then light[#light + 1] = name end
    end
    assert.is_true(#light > 0)
    local out, err, status = bench(table.concat(light, " "))
    assert.are.equal(0, status, out .. err)
  end)
end)
