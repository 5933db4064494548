-- What prefix caches reach, by state slots alone: a line a cache and number of slots, and one for the best
-- with the bound that it must keep:
--   cache-bench <trace> <cache> slots <n> hit <percent> ceiling <percent>
--   cache-bench <trace> best <cache> slots <n> hit <percent> want <percent>
--   make bench-cache     TRACE=<file> KIND=<agents, ...> CACHES="gdsf mine.lua" SLOTS="64 256"
-- Bounds are those of public traces of that kind, times this trace's ceiling over theirs. A file without a
-- KIND is of the one whose ceiling is nearest. Exit status 1: a bound was missed, 2: a trace or a cache could
-- not be read.
local gdn = require "gdnmeta"
local prompt_ids = require "gdnmeta.sim.prompt_ids"

local SLOTS, MOST_SLOTS = { 64, 256, 1024, 4096 }, 2^22
local BOUNDS = {
  conversation = { [64] = 9, [256] = 21, [1024] = 31, [4096] = 35.6, ceiling = 37.34 },
  synthetic = { [64] = 25, [256] = 48, [1024] = 58, [4096] = 64, ceiling = 65.04 },
  agents = { [64] = 92, [256] = 95.5, [1024] = 95.8, [4096] = 96, ceiling = 96.16 },
}
local SEED = { conversation = 1, synthetic = 1, agents = 1 }
local SHIPPED = { "every_block", "last_block", "retain_tail", "fork_and_last", "offsets", "fifo", "marconi",
                  "segment_length", "gdsf", "superseded_first", "turns_by_tokens" }

local function refuse(message)
  io.stderr:write("cache-bench: ", message, "\n")
  os.exit(2)
end

local function words(text, default)
  local list = {}
  for word in (text or ""):gmatch "%S+" do list[#list + 1] = word end
  return #list > 0 and list or default
end

local function nearest(ceiling)
  local best, off
  for kind, bound in pairs(BOUNDS) do
    local distance = math.abs(bound.ceiling - ceiling)
    if not off or distance < off then best, off = kind, distance end
  end
  return best
end

local function opened(what)
  local cache, message = gdn.cache(what, { trusted = true })
  return cache or refuse(message)
end

-- Every cache with every number of slots; returns how many bounds were missed.
local function measure(name, kind, requests, caches, slots)
  local ceiling, missed = 100 * gdn.sim.lab.ceiling(requests), 0
  kind = kind or nearest(ceiling)
  local bounds = BOUNDS[kind]
  for _, n in ipairs(slots) do
    local best, by = -1, nil
    for _, what in ipairs(caches) do
      local cache = opened(what) -- anew: a cache may have learned from the replay before
      local ok, run = pcall(gdn.sim.lab.replay, requests, cache, { slots = n })
      if not ok then refuse(("cache %s: %s"):format(cache.name, tostring(run))) end
      local hit = 100 * run.hit
      print(("cache-bench %s %s slots %d hit %.2f ceiling %.2f"):format(name, cache.name, n, hit,
        ceiling))
      io.stdout:flush()
      if hit > best then best, by = hit, cache.name end
    end
    if bounds[n] then
      local want = bounds[n] * ceiling / bounds.ceiling
      local short = best < want
      print(("cache-bench %s best %s slots %d hit %.2f want %.2f%s"):format(name, by, n, best, want,
        short and " MISSED" or ""))
      missed = missed + (short and 1 or 0)
    end
  end
  return missed
end

local function main()
  local caches, slots = words(os.getenv "CACHES", SHIPPED), words(os.getenv "SLOTS", SLOTS)
  for i = 1, #caches do opened(caches[i]) end -- or refused, before anything is replayed
  for i = 1, #slots do
    local n = tonumber(slots[i])
    if not (n and n % 1 == 0 and n >= 1 and n <= MOST_SLOTS) then
      refuse(("SLOTS: %s, want integers in 1 .. %d"):format(slots[i], MOST_SLOTS))
    end
    slots[i] = n
  end
  local path, only, missed = os.getenv "TRACE", os.getenv "KIND", 0
  if only == "" then only = nil end
  if only and not BOUNDS[only] then
    refuse("KIND = " .. only .. ", want agents, conversation or synthetic")
  end
  if path and path ~= "" then
    local requests, message = gdn.sim.trace.read(path)
    if not requests then refuse(message) end
    local known, why = prompt_ids.identify(requests, {})
    if not known then refuse(why) end
    return measure(requests.name, only, requests, caches, slots)
  end
  for _, kind in ipairs { "conversation", "synthetic", "agents" } do
    if not only or only == kind then
      local requests = gdn.sim.dialogues.generate { kind = kind, seed = SEED[kind] }
      missed = missed + measure(kind, kind, requests, caches, slots)
    end
  end
  return missed
end

os.exit(main() > 0 and 1 or 0)
