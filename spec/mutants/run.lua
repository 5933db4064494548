-- How many faults do the specs notice? Puts the faults of faults.lua and a sample of one-line faults into
-- a copy of the tree, one at a time.
--   N=100        one-line faults to try       SEED=1   which of them
--   ONLY=faults  or lines, or a pattern of files
local explained = require "spec.mutants.explained"
local faults = require "spec.mutants.faults"
local operators = require "spec.mutants.operators"
local tree = require "spec.mutants.tree"

local N, SEED, ONLY = tonumber(os.getenv "N") or 100, tonumber(os.getenv "SEED") or 1, os.getenv "ONLY"
local WANTED = 95 -- percent

-- Every site of every file, in an order that the seed decides.
local function sample()
  local sites = {}
  for _, path in ipairs(tree.sources()) do
    local is_wanted = not ONLY or ONLY == "lines" or path:find(ONLY)
    local language = path:match "%.lua$" and "lua" or "c"
    for _, site in ipairs(is_wanted and operators.sites(tree.read(path), language) or {}) do
      site.path = path
      sites[#sites + 1] = site
    end
  end
  math.randomseed(SEED)
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

local FAULTS, LINES = { tried = 0, killed = 0 }, { tried = 0, killed = 0 }
local apart, survivors = 0, {}

local function count(kind, verdict, by, title)
  kind.tried = kind.tried + 1
  if verdict == "killed" then kind.killed = kind.killed + 1 else survivors[#survivors + 1] = title end
  io.write(("%4d  %-8s  %s%s\n"):format(kind.tried, verdict, title, by and "  (" .. by .. ")" or ""))
  io.flush()
end

local function percent(killed, tried)
  return tried == 0 and 100 or math.floor(1000 * killed / tried) / 10
end

local function try_faults()
  for _, fault in ipairs(faults) do
    local name, path, was, is = unpack(fault)
    local text = tree.read(path)
    local from, to = text:find(was, 1, true)
    local verdict, by = tree.try(path, text:sub(1, from - 1) .. is .. text:sub(to + 1), name .. " %(")
    assert(verdict, ("faults.lua: %s in %s does not compile"):format(name, path))
    count(FAULTS, verdict, by, ("%s in %s"):format(name, path))
  end
end

local function try_lines()
  local sites, done = sample(), 0
  for _, site in ipairs(sites) do
    if done == N then return end
    local text, was, is, below = operators.apply(tree.read(site.path), site)
    if is_explained(site, was, is, below) then
      apart = apart + 1
    elseif not site.path:find "%.lua$" or loadstring(text) then
      local verdict, by = tree.try(site.path, text)
      if verdict then
        done = done + 1
        count(LINES, verdict, by, ("%s:%d %s: %s -> %s"):format(site.path, site.line, site.what, was, is))
      end
    end
  end
end

require "spec.mutants.fits"
tree.open()
if not ONLY or ONLY == "faults" then try_faults() end
if ONLY ~= "faults" then try_lines() end

if #survivors > 0 then print "\nsurvivors:" end
for _, title in ipairs(survivors) do print("  " .. title) end
if apart > 0 then print(("\n%d more change nothing that could be seen, see explained.lua"):format(apart)) end
print(("\n%d of %d named faults, %d of %d one-line faults of seed %d: %.1f %%"):format(FAULTS.killed,
  FAULTS.tried, LINES.killed, LINES.tried, SEED, percent(LINES.killed, LINES.tried)))
local killed, tried = FAULTS.killed + LINES.killed, FAULTS.tried + LINES.tried
print(("%d of %d mutants killed: %.1f %% killed"):format(killed, tried, percent(killed, tried)))
-- Named faults must not make up for others.
local enough = FAULTS.killed == FAULTS.tried and percent(LINES.killed, LINES.tried) >= WANTED
os.exit(enough and 0 or 1)
