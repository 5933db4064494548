-- How many faults do the specs notice? Puts the faults of faults.lua and a sample of one-line faults into
-- copies of the tree, one at a time.
--   N=60         one-line faults to try       SEED=<n>  which of them; without it, others each time
--   ONLY=faults  or lines, or a pattern of files
--   JOBS=<n>     at once; without it, as many as there are processors
--   SLOWEST=<s>  asks no spec that takes longer, for a quick look: such a figure is a lower bound
--   NEAR=1       asks only the specs that related.lua names for a file: a lower bound, too
local operators = require "spec.mutants.operators"
local explained = require "spec.mutants.explained"
local faults = require "spec.mutants.faults"
local tree = require "spec.mutants.tree"

local WANTED = 95 -- percent

local function draw()
  local file = assert(io.open("/dev/urandom", "rb"))
  local a, b, c = file:read(3):byte(1, 3)
  file:close()
  return a + 256 * b + 65536 * c
end

local function setting(name, default) return tonumber(os.getenv(name)) or default end
local N, ONLY, SLOWEST, NEAR = setting("N", 60), os.getenv "ONLY", setting "SLOWEST", os.getenv "NEAR"
local RESULTS = tree.ROOT .. "/results"

-- Every site of every file, in an order that the seed decides.
local function sample(seed)
  local sites = {}
  for _, path in ipairs(tree.sources()) do
    local is_wanted = not ONLY or ONLY == "lines" or path:find(ONLY)
    local language = path:match "%.lua$" and "lua" or "c"
    for _, site in ipairs(is_wanted and operators.sites(tree.read(path), language) or {}) do
      site.path = path
      sites[#sites + 1] = site
    end
  end
  math.randomseed(seed)
  for i = #sites, 2, -1 do
    local j = math.random(i)
    sites[i], sites[j] = sites[j], sites[i]
  end
  return sites
end

local function is_explained(site, was, is, below)
  for _, entry in ipairs(explained) do
    if entry[1] == site.path and was:find(entry[2], 1, true)
      and (entry[3] == "removed" and site.what == "removed" or is:find(entry[3], 1, true))
      and (not entry.above or below:find(entry.above, 1, true)) then
      return true
    end
  end
end

-- One result a file, named by its place: what a worker found, and a line about it.
local function report(kind, place, verdict, title, by)
  local line = ("%-9s  %s%s"):format(verdict, title, by and "  (" .. by .. ")" or "")
  tree.put(("%s/%s.%d"):format(RESULTS, kind, place), verdict .. "\n" .. line)
  if verdict ~= "no program" and verdict ~= "equal" then
    io.write(("%4d  %s\n"):format(place, line))
    io.flush()
  end
end

local function results(kind)
  local counts, survivors, found = { tried = 0 }, {}, 0
  for place = 1, math.huge do
    local file = io.open(("%s/%s.%d"):format(RESULTS, kind, place), "rb")
    if not file then break end
    local verdict, line = file:read "*a":match "^(.-)\n(.*)$"
    file:close()
    found = place
    counts[verdict] = (counts[verdict] or 0) + 1
    if verdict ~= "no program" and verdict ~= "equal" then counts.tried = counts.tried + 1 end
    if verdict == "survived" or verdict == "explained" then survivors[#survivors + 1] = line end
  end
  return counts, survivors, found
end

-- A place is one worker's who makes its folder.
local function claim(kind, place)
  return os.execute(("mkdir %s/%s.%d.claim 2>/dev/null"):format(RESULTS, kind, place)) == 0
end

local function try_fault(job, place)
  local name, path, was, is = unpack(faults[place])
  local text = tree.read(path)
  local from, to = text:find(was, 1, true)
  local mutant = text:sub(1, from - 1) .. is .. text:sub(to + 1)
  local verdict, by = tree.try(job, path, mutant, { filter = name .. " %(" })
  assert(verdict, ("faults.lua: %s in %s does not compile"):format(name, path))
  report("fault", place, verdict, ("%s in %s"):format(name, path), by)
end

local function try_line(job, place, site)
  local text, was, is, below = operators.apply(tree.read(site.path), site)
  local verdict, by = tree.try(job, site.path, text, { slowest = SLOWEST, near = NEAR })
  if verdict == "survived" and is_explained(site, was, is, below) then verdict = "explained" end
  report("line", place, verdict or "no program",
    ("%s:%d %s: %s -> %s"):format(site.path, site.line, site.what, was, is), by)
end

-- Those that are no program, or the same one, are replaced by the next ones, so that the N first faults of
-- the sample are tried however many workers there are.
local function work(job, seed)
  for place = 1, ONLY and ONLY ~= "faults" and 0 or #faults do
    if claim("fault", place) then try_fault(job, place) end
  end
  if ONLY == "faults" then return end
  local sites, place = sample(seed), 1
  while sites[place] do
    local counts, _, found = results "line"
    if place - 1 - (counts["no program"] or 0) - (counts.equal or 0) >= N then
      if found >= place - 1 then return end
      os.execute "sleep 1"
    else
      if claim("line", place) then try_line(job, place, sites[place]) end
      place = place + 1
    end
  end
end

local function percent(killed, tried)
  return tried == 0 and 100 or math.floor(1000 * killed / tried) / 10
end

local function conclude(seed)
  local fault, missed = results "fault"
  local line, survivors = results "line"
  for _, title in ipairs(survivors) do missed[#missed + 1] = title end
  if #missed > 0 then print "\nnot killed:" end
  for _, title in ipairs(missed) do print("  " .. title) end
  local killed = line.killed or 0
  print(("\n%d of %d named faults, %d of %d one-line faults of seed %d: %.1f %%"):format(fault.killed or 0,
    fault.tried, killed, line.tried, seed, percent(killed, line.tried)))
  print(("%d others did not compile, and %d compile to the same program: others were drawn"):format(
    line["no program"] or 0, line.equal or 0))
  if line.explained then print(("of those not killed, %d are in explained.lua"):format(line.explained)) end
  local all, tried = killed + (fault.killed or 0), line.tried + fault.tried
  print(("%d of %d mutants killed: %.1f %% killed"):format(all, tried, percent(all, tried)))
  if NEAR then print "only specs that are near the file were asked" end
  if SLOWEST then print(("specs of more than %g s were not asked"):format(SLOWEST)) end
  -- Named faults must not make up for others.
  return (fault.killed or 0) == fault.tried and percent(killed, line.tried) >= WANTED
end

local job, seed = tonumber(arg[1]), tonumber(arg[2])
if job then
  work(job, seed)
else
  require "spec.mutants.fits"
  seed = setting("SEED") or draw()
  local jobs = setting("JOBS") or tonumber(io.popen "nproc":read "*l")
  print(("seed %d, %d at once"):format(seed, jobs))
  io.flush()
  tree.open(jobs, NEAR)
  assert(os.execute(("rm -rf %s && mkdir -p %s"):format(RESULTS, RESULTS)) == 0)
  local command = {}
  for k = 1, jobs do command[k] = ("luajit spec/mutants/run.lua %d %d &"):format(k, seed) end
  assert(os.execute(table.concat(command, " ") .. " wait") == 0)
  os.exit(conclude(seed) and 0 or 1)
end
