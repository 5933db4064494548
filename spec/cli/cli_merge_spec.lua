-- Damaged results: gdnmeta merge names file, line and field of what is wrong.
local programs = require "spec.support.program"

describe("gdnmeta merge #lua", function()
  local program, text
  setup(function()
    program = programs.new()
    text = program.run("simulate --quiet --policy fcfs --policy fair --drafts 1 --json - "
      .. "--workload requests=20,rate=6")
  end)
  teardown(function() program.close() end)

  local function merge(content)
    local path = program.write("x.json", content)
    local out, err, status = program.run("merge " .. path)
    return out, (err:gsub("^gdnmeta: " .. path:gsub("%p", "%%%0"), "")), status
  end

  -- The n-th place of `field` with another value.
  local function damaged(field, value, n)
    local seen = 0
    return (text:gsub('"' .. field .. '":[^,{}]+', function()
      seen = seen + 1
      return seen == n and ('"%s":%s'):format(field, value) or nil
    end))
  end

  it("takes a run a line, and the same laid out otherwise", function()
    assert.are.equal(4, select(2, text:gsub("\n", "")))
    local out, err, status = merge(text)
    assert.are.same({ "", 0 }, { err, status })
    assert.are.equal(out, (merge((text:gsub(",", ",\n"):gsub(":", " : ")))))
  end)

  local wrong = {
    { "goodput", '"many"', 1, ':2: runs[1].goodput = "many", want a number' },
    { "goodput", "null", 2, ":3: runs[2].goodput = nil, want a number" },
    { "attainment", "NaN", 2, ":3: runs[2].attainment = nan, want a number" },
    { "policy", "7", 2, ":3: runs[2].policy = 7, want a string" },
    { "jain", "[]", 1, ":2: runs[1].fairness.jain = a table, want a number" },
    { "seed", "1e999", 2, ":3: runs[2].setup.seed = inf, want a number" },
    { "accepted", "{}", 1, ":2: runs[1].speculation.accepted = a table, want a number" },
    { "starved", '"x"', 1, ':2: runs[1].starved = "x", want a number' },
    { "stalled", "[]", 2, ":3: runs[2].stalled = a table, want a number" },
    { "waiting", '"x"', 1, ':2: runs[1].timeline[1].waiting = "x", want a number' },
    { "gdnmeta", "2", 1, ":1: gdnmeta = 2, want 1: a result of gdnmeta simulate" },
  }
  for _, case in ipairs(wrong) do
    it(("refuses %s = %s"):format(case[1], case[2]), function()
      assert.are.same({ "", case[4] .. "\n", 2 }, { merge(damaged(case[1], case[2], case[3])) })
    end)
  end

  it("names what is no run, no curve and no list", function()
    local why = ":2: runs[1].targets = 3, want an object\n"
    assert.are.same({ "", why, 2 }, { merge((text:gsub('"targets":%b{}', '"targets":3', 1))) })
    why = ":3: runs[2] = 5, want an object\n"
    assert.are.same({ "", why, 2 }, { merge((text:gsub("\n{.-\n{.-\n", function(runs)
      return runs:match "^\n.-\n" .. "5\n"
    end))) })
    why = ":2: runs[1].curves.ttft = a table, want a list of points\n"
    assert.are.same({ "", why, 2 }, { merge((text:gsub('"ttft":%b[]', '"ttft":[[1,2],[1,"x"]]', 1))) })
    why = ":1: runs = 3, want a list\n"
    assert.are.same({ "", why, 2 }, { merge '{"gdnmeta":1,"runs":3}' })
    assert.are.same({ "", ":1: gdnmeta = nil, want 1: a result of gdnmeta simulate\n", 2 }, { merge "7" })
  end)

  it("takes runs of requests that came all at once, which no rate can judge", function()
    local one = program.run("simulate --quiet --workload requests=20 --limit 1 --json -")
    local out, err, status = merge(one)
    assert.matches("\n  fcfs: its requests came all at once, at no rate\n", out .. "\n")
    assert.are.same({ "", 0 }, { err, status })
  end)

  it("refuses runs of other requests", function()
    local more = program.write("more.json", (text:gsub('"requests":20', '"requests":21')))
    local _, err, status = program.run("merge " .. program.write("x.json", text) .. " " .. more)
    assert.are.same({ "gdnmeta: " .. more .. ": requests = 21, the first file has 20\n", 2 }, { err, status })
  end)

  it("refuses runs that had other targets, or whose requests came about otherwise", function()
    local path = program.write("x.json", text)
    for options, wanted in pairs {
      ["--ttft-ms 5"] = "ttft_ms = 5, the first file has 2000\n",
      ["--tpot-ms 50 --gap-ms 1000"] = "tpot_ms = 50, the first file has 100\n",
      ["--gap-ms 7"] = "gap_ms = 7, the first file has 1000\n",
      ["--sessions 3 --think 1"] = "notes on its requests = ",
    } do
      local command = "simulate --quiet --policy fcfs --drafts 1 --json - --workload requests=20,rate=6 "
      local other = program.write("other.json", (program.run(command .. options)))
      local _, err, status = program.run("merge " .. path .. " " .. other)
      local line = "gdnmeta: " .. other .. ": " .. wanted
      assert.are.same({ line, 2 }, { err:sub(1, #line), status })
    end
  end)

  it("looks at the figures of classes, and joins runs of the same ones alone", function()
    local function result(name, spec, edit)
      local command = "simulate --quiet --classes '%s' --rate 6 --workload requests=20 --json -"
      local out = program.run(command:format(spec))
      return program.write(name, edit and edit(out) or out)
    end
    local one, same = result("a.json", "chat:0.5;batch:0.5"), result("b.json", "chat:0.5;batch:0.5")
    local _, err, status = program.run(("merge %s %s --report -"):format(one, same))
    assert.are.same({ "", 0 }, { err, status })
    local page = program.run("merge --report - " .. one)
    assert.truthy(page:find("Class batch", 1, true) and page:find("Class chat", 1, true))
    local other = result("c.json", "chat:0.5;batch:0.5;late:2")
    _, err, status = program.run(("merge %s %s"):format(one, other))
    local names = "%a+ %(%d+%), %a+ %(%d+%)"
    local why = "/c%.json: classes = " .. names .. ", %a+ %(%d+%), the first file has " .. names .. "\n$"
    assert.matches(why, err)
    assert.are.equal(2, status)
    other = result("d.json", "chat:0.5;batch:0.5", function(out)
      return (out:gsub('"name":"%a+"', '"name":7', 1))
    end)
    _, err = program.run("merge " .. other)
    assert.matches("/d%.json:2: runs%[1%]%.classes%[%d%]%.name = 7, want a string\n$", err)
  end)

  it("looks for 90 % within the targets, where nothing else is said", function()
    local path = program.write("90.json", text)
    local function asked(more)
      return (program.run(("merge %s%s"):format(path, more))):match "least ([%d.]+) %%"
    end
    assert.are.same({ "90.0", "89.0" }, { asked "", asked " --attainment 89" })
  end)

  it("names the line where a file is cut", function()
    local _, err, status = merge(text:sub(1, -10))
    assert.matches("^:3: Expected .* but found .* at character %d+\n$", err)
    assert.are.equal(2, status)
  end)
end)
