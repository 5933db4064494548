-- Names of files, policies, classes and requests on the command line: whatever stands in them, what is
-- printed and the pages hold nothing that a terminal obeys or a browser reads as markup.
local gdn = require "gdnmeta"
local programs = require "spec.support.program"
local serve = require "spec.support.run_engine"

-- Colours, sets a title, turns the direction of writing, is markup, is no UTF-8.
local NASTY = "a\27[31m\27]0;x\7\226\128\174<b>x\255"
local ROWS = "arrival_s,prompt_tokens,output_tokens,class,user\n0,9,3,%s,u\n1,9,3,%s,%s\n"
local POLICY = "return { name = %q, key = function() %s return 1 end }"

local function harmless(text, what)
  local at = text:find "[%z\1-\8\11-\31\127]"
  assert.is_nil(at, at and ("%s: %q"):format(what, text:sub(math.max(at - 60, 1), at + 60)))
  assert.is_nil(text:find("\226\128\174", 1, true), what)
  assert.is_nil(text:find("\255", 1, true), what)
  assert.is_nil(text:find("<b>x", 1, true) and text:find("<html", 1, true), what)
end

describe("The command line #lua", function()
  local program
  setup(function() program = programs.new() end)
  teardown(function() program.close() end)

  -- Arguments that are names, quoted for the shell; the status.
  local function run(status, ...)
    local words = { ... }
    for i, word in ipairs(words) do words[i] = "'" .. word .. "'" end
    local out, err, got = program.run(table.concat(words, " "))
    harmless(out, words[1] .. " stdout")
    harmless(err, words[1] .. " stderr")
    assert.is_true(#err < 25000, words[1] .. ": " .. #err)
    assert.are.equal(status, got, err)
  end

  it("repeats names without what is in them", function()
    local none, bad = program.folder .. "/" .. NASTY, program.write(NASTY .. ".x", NASTY .. "\n" .. NASTY)
    for _, word in ipairs { NASTY, ("y"):rep(1e5), NASTY:rep(2000) } do
      run(2, word)
      run(2, "simulate", "--" .. word)
      run(2, "simulate", "--rate", word)
      run(2, "simulate", "--policy", word)
      run(2, "simulate", "--preset", word)
      run(2, "simulate", "--workload", word .. "=1")
      run(2, "simulate", "--classes", word)
      run(2, "simulate", "--cost", word)
      run(2, "sweep", "--rates", word)
      run(2, "doctor", word)
    end
    for _, path in ipairs { none, bad } do
      run(2, "simulate", "--trace", path)
      run(2, "simulate", "--calibrate", path)
      run(2, "simulate", "--report", path .. "/none")
      for _, command in ipairs { "inspect", "replay", "merge" } do run(2, command, path) end
    end
  end)

  it("shows results of policies, files and classes with such names", function()
    local policy = program.write(NASTY .. ".lua", POLICY:format(NASTY, ""))
    local broken = program.write("b" .. NASTY .. ".lua", POLICY:format(NASTY, ("error(%q)"):format(NASTY)))
    local trace = program.write(NASTY .. ".csv", ROWS:format(NASTY, NASTY, NASTY))
    local page, json = program.folder .. "/page.html", program.folder .. "/runs.json"
    run(0, "simulate", "--trace", trace, "--policy", policy, "--report", page, "--json", json)
    harmless(program.read "page.html", "page")
    run(1, "simulate", "--trace", trace, "--policy", broken, "--report", page)
    harmless(program.read "page.html", "page")
    local text = program.read("runs.json"):gsub('"workload":"[^"]*"', '"workload":"w\\u001b[31m<b>x"')
    local touched = program.folder .. "/touched"
    for _, name in ipairs { "a\\u001b[31m<b>x", "a\\n!touch %s\\n", "a`touch %s`" } do
      local field = ('"policy":"%s"'):format(name):gsub("%%s", touched)
      program.write("runs.json", (text:gsub('"policy":"[^"]*"', function() return field end)))
      run(0, "merge", json, "--report", page)
      harmless(program.read "page.html", "page")
      assert.is_nil((io.open(touched)))
    end
  end)

  it("draws recordings of requests and policies with such names", function()
    local engine = serve.engine { name = NASTY, key = function() return 1 end }
    local path = program.folder .. "/" .. NASTY .. ".jsonl"
    local recording = assert(engine:record(path))
    harmless(tostring(recording), "recording")
    harmless(select(2, engine:record(path)), "second recording")
    for _, id in ipairs { NASTY, 1, "1" } do assert(engine:submit(serve.request(id, { class = NASTY }))) end
    serve.run(engine)
    engine:close()
    run(0, "inspect", path)
    run(0, "inspect", path, "--step", "1")
    run(0, "inspect", path, "--request", NASTY)
    run(0, "inspect", path, "--request", "1")
    run(2, "inspect", path, "--request", "none" .. NASTY)
    run(0, "replay", path)
  end)

  it("is not alone: reasons of a policy are bounded and plain, too", function()
    local long = NASTY:rep(1000)
    for _, policy in ipairs { { admit = function() return nil, long end },
                              { step = function(view, plan)
                                for i in view:waiting() do plan:reject(i, long) end
                              end } } do
      local engine = serve.engine(policy)
      assert(engine:submit(serve.request(1)))
      local reason = assert(engine:step(0)).reasons[1]
      harmless(reason, "reason")
      assert.is_true(#reason < 2000)
      engine:close()
    end
    harmless(select(2, require "gdnmeta.sim".fit(program.folder .. NASTY)), "fit")
    assert.is_nil((gdn.policy(NASTY .. ".lua")))
  end)
end)
