-- Copies of the tree under build/: a whole one, and one for each worker, in which one file at a time is
-- changed, built and put to the specs.
local equal = require "spec.mutants.equal"
local related = require "spec.mutants.related"

local ROOT = "build/mutants"
local WHOLE, TIMES, SUM = ROOT .. "/whole", ROOT .. "/times", ROOT .. "/sum"
local KILOBYTES = 16e6 -- of a spec's addresses: what is past them grows
local ENVIRONMENT = "LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' LUA_CPATH='./build/?.so;;' " ..
  "GDN_SEED=7 GDN_CASES=300"
local GOLDENS = "spec/goldens"

-- In lua/gdnmeta, by make.
local GENERATED = { "native/cdef.lua", "native/version.lua", "native/schema.lua", "worker/cdef.lua" }

local M = { ROOT = ROOT }

local function shell(command) return os.execute(command) == 0 end

local function lines(command)
  local list, pipe = {}, io.popen(command)
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local function slurp(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

--- Write a file, whole.
function M.put(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- The contents of a file of the whole copy: who edits the tree meanwhile does no harm.
---@return string
function M.read(path) return assert(slurp(WHOLE .. "/" .. path)) end

--- Files of the copy that may be changed.
---@return table paths
function M.sources()
  local find = "find src lua/gdnmeta -name '*.[ch]' -o -name '*.lua'"
  for _, name in ipairs(GENERATED) do find = find .. " ! -path '*/" .. name .. "'" end
  return lines(("cd %s && %s | sort"):format(WHOLE, find))
end

local function make(tree, log, targets)
  local command = "nice timeout 900 make -s -C %s OPT=-O1 WITH_CUDA=0 %s >%s 2>&1 </dev/null"
  return shell(command:format(tree, targets or "all fake build/libgdncounted.so", log))
end

-- What else the Makefile asks of C: ASan and UBSan over the specs that are most about the file, allocations
-- that fail, and threads that meet. Which of them notices, and what make was given?
local function checked(tree, log, near)
  local specs = ("asan GDN_SEED=7 GDN_CASES=100 SPEC_JOBS=1 SPECS='%s'"):format(table.concat(near, " "))
  for _, targets in ipairs { specs, "faults", "tsan" } do
    if not make(tree, log, targets) then return "make " .. targets:match "%w+", targets end
  end
end

-- The shell's words that ask a spec. `seconds`: of the processor, as it took when the tree was whole; what
-- takes many times as long hangs. A machine that does other work besides may take longer over it.
local function command(tree, log, spec, seconds, filter)
  local program = "spec/conformance.lua spec/goldens/*.jsonl"
  if spec ~= GOLDENS then
    local only = filter and ("--filter='%s' "):format(filter) or ""
    program = "/usr/bin/busted --ignore-lua --no-keep-going --helper=spec/helper.lua " ..
      "--exclude-tags=system " .. only .. spec
  end
  local limits = ("ulimit -v %d && ulimit -t %d"):format(KILOBYTES, 20 + 8 * seconds)
  local line = "(cd %s && %s && %s nice timeout -k 5 %d luajit %s >%s 2>&1 </dev/null)"
  return line:format(tree, limits, ENVIRONMENT, 120 + 40 * seconds, program, log)
end

local function passes(...) return shell(command(...)) end

-- Where the log says that a spec failed. It does not say so of a process that ended otherwise.
local function culprit(log, spec)
  local text = slurp(log)
  return text:match "Failure %-> (%S+)" or text:match "Error %-> (%S+)"
    or spec .. ", a crash or the time limit"
end

-- Every spec with the seconds that it takes, written down, the quickest first. Each worker's copy is asked
-- some of them, as many at once as there are workers.
local function ask_everything(jobs)
  local specs = lines("cd " .. WHOLE .. " && find spec -name '*_spec.lua' | sort")
  specs[#specs + 1] = GOLDENS
  local root, commands = lines("realpath " .. ROOT)[1], {}
  for i, spec in ipairs(specs) do
    local ask = command("$tree", "$tree.log", spec, 60)
    commands[i] = ("tree=%s/$((SLOT + 1)); start=$(date +%%s.%%N); if %s; then is=passed; else is=failed; " ..
      "cp $tree.log %s/log; fi; echo $is $(date +%%s.%%N) $start %s; [ $is = passed ] || exit 255"):format(
      root, ask, ROOT, spec) -- 255: xargs begins no other
  end
  M.put(ROOT .. "/ask", table.concat(commands, "\n"))
  local times, xargs = {}, "xargs -d '\\n' -P %d --process-slot-var=SLOT -I@ sh -c @ <%s/ask"
  for _, line in ipairs(lines(xargs:format(jobs, ROOT))) do
    local verdict, stop, start, spec = line:match "^(%S+) (%S+) (%S+) (%S+)$"
    assert(verdict == "passed", ("the tree itself fails: %s, see %s/log"):format(spec or line, ROOT))
    times[#times + 1] = { spec, stop - start }
  end
  assert(#times == #specs, "some spec did not end")
  table.sort(times, function(a, b) return a[2] < b[2] end)
  for i, entry in ipairs(times) do times[i] = ("%.3f %s\n"):format(entry[2], entry[1]) end
  M.put(TIMES, table.concat(times))
end

--- Copy the tree, and see that it is whole; not again where nothing has changed since.
---@param jobs integer
---@param is_near boolean|nil only specs that are near a file will be asked, each when it first fails
function M.open(jobs, is_near)
  local tar = "tar --exclude=./build --exclude=./.git --sort=name --mtime=@0 -cf - ."
  local sum = lines(tar .. " | md5sum")[1]
  local is_known = slurp(SUM) == sum or is_near and slurp(SUM .. ".near") == sum
  if not is_known then
    assert(shell(("rm -rf %s && mkdir -p %s && %s | tar -xmf - -C %s"):format(ROOT, WHOLE, tar, WHOLE)))
    local others = is_near and {} or { "asan-lib faults tsan" }
    for _, targets in ipairs { "all fake build/libgdncounted.so", unpack(others) } do
      assert(make(WHOLE, ROOT .. "/log", targets), "the tree does not build, see " .. ROOT .. "/log")
    end
    assert(equal.compile(WHOLE), "the tree does not build, see " .. WHOLE .. ".log")
  end
  for job = 1, jobs do
    assert(shell(("rm -rf %s/%d && cp -a %s %s/%d"):format(ROOT, job, WHOLE, ROOT, job)))
  end
  if is_near then
    M.put(SUM .. ".near", sum)
  elseif slurp(SUM) ~= sum then
    ask_everything(jobs)
    M.put(SUM, sum)
  end
end

-- Those that are near alone, as related.lua has them. None of them takes a minute of a processor.
local function near_specs(path)
  local list, near = {}, related(path)
  for i, name in ipairs(near) do list[i] = { spec = name, seconds = 5, is_near = true } end
  return list, near
end

-- Does a spec pass in the whole tree? Asked once.
local function is_sound(spec)
  local mark = ROOT .. "/sound." .. spec:gsub("/", ".")
  if slurp(mark) then return true end
  local is_passed = passes(WHOLE, lines("realpath " .. ROOT)[1] .. "/sound.log", spec, 60)
  if is_passed then M.put(mark, "") end
  return is_passed
end

local order
-- Everything, what is most about the file first, then what is quickest.
local function specs_for(path)
  if not order then
    order = {}
    for seconds, spec in slurp(TIMES):gmatch "(%S+) (%S+)\n" do
      order[#order + 1] = { spec = spec, seconds = tonumber(seconds) }
    end
  end
  local list, near = {}, related(path)
  for pass = 1, 2 do
    for _, entry in ipairs(order) do
      local is_near = false
      for _, name in ipairs(near) do is_near = is_near or entry.spec:find(name, 1, true) == 1 end
      if is_near == (pass == 1) then
        list[#list + 1] = { spec = entry.spec, seconds = entry.seconds, is_near = is_near }
      end
    end
  end
  return list, near
end

-- The first spec that fails, of those that are asked. A stranger is asked twice: a spec that fails by chance
-- has noticed nothing. Before the first one the mutant may be proven equal.
---@return string|nil by, string? targets, boolean? is_equal
local function culprit_of(tree, log, path, options)
  local specs, near = (options.near and near_specs or specs_for)(path)
  local was_near = options.filter
  for _, entry in ipairs(specs) do
    if not entry.is_near and not was_near then
      was_near = true
      if equal.proven(WHOLE, tree, path) then return nil, nil, true end
      local by, targets
      if path:find "^src/" then by, targets = checked(tree, log, near) end
      if by then return by, targets end
    end
    local is_asked = not options.slowest or entry.seconds <= options.slowest
    if options.filter then is_asked = entry.spec:find("spec/regressions/", 1, true) == 1 end
    if is_asked and not passes(tree, log, entry.spec, entry.seconds, options.filter) then
      local by = culprit(log, entry.spec)
      local is_certain = entry.is_near and (not options.near or is_sound(entry.spec))
      local is_stranger = not entry.is_near and not options.near
      if is_stranger then is_certain = not passes(tree, log, entry.spec, entry.seconds, options.filter) end
      if is_certain then return by end
    end
  end
  if options.near then return nil, nil, equal.proven(WHOLE, tree, path) end
end

--- Who notices that a file has this text?
---@param job integer whose copy it is put into
---@param path string
---@param text string
---@param options table filter: only specs/regressions of that name are asked; slowest: none that takes
---  longer; near: only what related.lua names
---@return string|nil verdict "killed", "survived", "equal" (the same program), or nil: it does not compile
---@return string? by
function M.try(job, path, text, options)
  local tree, log = ("%s/%d"):format(ROOT, job), ("%s/log%d"):format(lines("realpath " .. ROOT)[1], job)
  local is_lua = path:find "%.lua$"
  M.put(tree .. "/" .. path, text)
  local verdict, by, targets
  if is_lua and loadstring(text) or not is_lua and make(tree, log) then
    local is_same = equal.is_likely(WHOLE, tree, path) and equal.proven(WHOLE, tree, path)
    if not is_same then by, targets, is_same = culprit_of(tree, log, path, options) end
    verdict = is_same and "equal" or by and "killed" or "survived"
  end
  assert(shell(("cp -p %s/%s %s/%s"):format(WHOLE, path, tree, path)))
  if not is_lua then
    local build = ("cd %s && rm -rf build && cp -a ../whole/build build"):format(tree)
    for _, name in ipairs(GENERATED) do
      build = ("%s && cp -p ../whole/lua/gdnmeta/%s lua/gdnmeta/%s"):format(build, name, name)
    end
    assert(shell(build))
  end
  -- Specs passed in the whole tree before any fault was tried (ask_everything); these checks did not yet.
  if targets and not make(tree, log, targets) then return "survived" end
  return verdict, by
end

return M
