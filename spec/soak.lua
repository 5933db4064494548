-- Engines that work for a long time, on random traffic with every invariant checked in every step: does
-- memory stay, and do steps cost what they cost at first?
--   luajit spec/soak.lua <seconds>
-- An engine for each policy, mode none or align, one or two steps in flight. All of them live until the end.
-- In each round each plays other requests; in between, the same ones again, which are timed.
local ffi = require "ffi"
local play = require "spec.support.random_traffic"

local POLICIES = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }
local REQUESTS, TIMED_SEED = 30, 7
local LINES = 20        -- of progress
local WARM = 0.2        -- of the time, in which caches and traces may still grow
local MORE_KB = 512     -- of Lua's memory, and four times of the process's, that may come after that
local SLOWER = 1.25     -- a step at the end, in steps at the beginning

ffi.cdef [[
typedef struct { long tv_sec, tv_nsec; } gdn_soak_time;
int clock_gettime(int clock, gdn_soak_time *out);
]]
local CLOCK_MONOTONIC = 1
local time = ffi.new "gdn_soak_time"

local function seconds()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
  return tonumber(time.tv_sec) + tonumber(time.tv_nsec) * 1e-9
end

local function rss_kb()
  local file = assert(io.open "/proc/self/statm")
  local pages = file:read "*a":match "^%d+ (%d+)"
  file:close()
  return pages * 4
end

local function lua_kb()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count"
end

-- Engines of one size each; pools and attention caches are short, so that requests are preempted.
local function engines()
  local list = {}
  for i, policy in ipairs(POLICIES) do
    for _, align in ipairs { false, true } do
      for _, async in ipairs { false, true } do
        local c
        math.randomseed(1000 * i)
        repeat
          c = play.configuration()
        until c.align == align and c.seqs > 3 and c.kv_tokens and c.num_spec == (i + (async and 1 or 0)) % 4
        c.async = async
        local name = ("%s %s %s"):format(policy, align and "align" or "none", async and "async" or "sync")
        list[#list + 1] = { name = name, c = c, now = 0, engine = play.engine(c, policy) }
      end
    end
  end
  return list
end

local steps, accepted = 0, 0

local function count(step)
  steps = steps + 1
  for row = 0, step.num_rows - 1 do accepted = accepted + step.accepted_drafts[row] end
end

local function round(e, seed)
  math.randomseed(seed)
  local where = ("%s, round of seed %d"):format(e.name, seed)
  local _
  _, e.now = play.run(e.c, { engine = e.engine, where = where, now = e.now, cancel = 0.03,
                             requests = play.requests(e.c, REQUESTS), on_complete = count })
  local failure = e.engine:failures()[1]
  if failure then error(where .. ": " .. failure.message, 0) end
end

local SUMS = { "finished", "cancelled", "preemptions", "rejected_drafts", "wasted_tokens" }

-- Of all engines so far.
local function sums(list)
  local s = { steps = steps, accepted = accepted }
  for _, name in ipairs(SUMS) do
    s[name] = 0
    for _, e in ipairs(list) do s[name] = s[name] + e.engine.stats[name] end
  end
  return s
end

-- Microseconds of this process's time that a step of the timed rounds takes, its checks with it.
local function timed(list)
  local before, began = steps, os.clock()
  for _, e in ipairs(list) do round(e, TIMED_SEED) end
  return (os.clock() - began) / (steps - before) * 1e6
end

-- The least of some rounds: what is above it comes and goes, with the collector or with other processes.
local function least(samples, from, to)
  local low = { us = math.huge, lua = math.huge, rss = math.huge }
  for i = from, to do
    for name, value in pairs(low) do low[name] = math.min(value, samples[i][name]) end
  end
  return low
end

-- What went wrong, in words.
local function problem_of(samples, list)
  local n, problems = #samples, {}
  local warm = math.ceil(n * WARM) + 1
  if n < 10 then return { ("%d rounds are too few to problem_of"):format(n) } end
  local first = least(samples, warm, warm + math.floor(n / 4))
  local last = least(samples, n - math.floor(n / 4), n)
  print(("soak: after warming up and at the end: Lua %.0f and %.0f KB, resident %.0f and %.0f KB, "
    .. "step %.0f and %.0f us"):format(first.lua, last.lua, first.rss, last.rss, first.us, last.us))
  if last.lua > first.lua + MORE_KB then problems[#problems + 1] = "Lua's memory grows" end
  if last.rss > first.rss + 4 * MORE_KB then problems[#problems + 1] = "the process grows" end
  if last.us > SLOWER * first.us then problems[#problems + 1] = "steps get slower" end
  for name, sum in pairs(sums(list)) do
    if sum == 0 then problems[#problems + 1] = "nothing was counted as " .. name end
  end
  return problems
end

local function main(wanted)
  local list, samples = engines(), {}
  local began, seed, said = seconds(), os.time() % 2 ^ 24, 0
  print(("soak: %d engines for %d s, GDN_SEED=%d"):format(#list, wanted, seed))
  repeat
    seed = seed + 1
    for _, e in ipairs(list) do round(e, seed) end
    local us, at = timed(list), seconds() - began
    samples[#samples + 1] = { us = us, lua = lua_kb(), rss = rss_kb() }
    if at >= said * wanted / LINES then
      local s, now = sums(list), samples[#samples]
      print(("soak: %5.0f s %9d steps, %d finished, %d cancelled, %d preempted, %d drafts accepted; "
        .. "Lua %.0f KB, resident %.0f KB, step %.0f us"):format(at, s.steps, s.finished, s.cancelled,
        s.preemptions, s.accepted, now.lua, now.rss, us))
      io.stdout:flush()
      said = math.floor(at * LINES / wanted) + 1
    end
  until seconds() - began >= wanted
  local problems = problem_of(samples, list)
  print("soak: " .. (#problems == 0 and "ok" or table.concat(problems, "; ")))
  return #problems == 0 and 0 or 1
end

os.exit(main(tonumber(arg[1]) or 600))
