-- gdnmeta simulate --cache, sweep --cache: which caches, with how many states, and what each run is called.
local fail = require("gdnmeta.cli.values").fail
local inputs = require "gdnmeta.cli.inputs"
local prompt_ids = require "gdnmeta.sim.prompt_ids"
local refusals = require "gdnmeta.cli.refusals"
local scenario = require "gdnmeta.sim.scenario"
local foreign_text = require "gdnmeta.native.foreign_text"
local values = require "gdnmeta.cli.values"

local M = {}

local NONE = "none" -- without a cache: what the others are compared with
local SLOTS, ALONE = "64", "64,256,1024,4096" -- defaults: of the engine, and by state slots alone
local SESSIONS, RATE = 400, 0.5 -- of the workload where none is given: one that an H100 can serve

local WITH_CACHE = { "cache_slots", "host_slots", "host_link", "cache_replies", "slots_only" }

--- Declare the options.
---@param replays boolean|nil with replays by state slots alone, too
function M.describe(parser, replays)
  parser:option("--cache", "State cache: a shipped one, the path of a file, or none; repeat for several. A "
    .. "run without a cache comes first (no cache)."):count "*":argname "CACHE"
  parser:option("--cache-slots", "States that a cache may keep beyond the slots of running requests; several "
    .. "numbers are several runs (64" .. (replays and "; 64,256,1024,4096 with --slots-only" or "") .. ").")
    :argname "N,..."
  parser:option("--host-slots", "States that a cache may keep in memory of the host (0).")
    :argname "N"
  parser:option("--host-link", "GB per second between host and device (of the preset).")
    :argname "GB"
  parser:flag("--cache-replies",
    "Answers leave states, too: the next prompt of a session is taken to hold them.")
  if not replays then return end
  parser:flag("--slots-only", "Replay caches without an engine, by state slots alone: attention is kept "
    .. "elsewhere, requests follow each other.")
end

--- Options that mean nothing without a cache are refused.
function M.check(args)
  for _, name in ipairs(#args.cache == 0 and WITH_CACHE or {}) do
    if args[name] then fail("--%s wants --cache with it", (name:gsub("_", "-"))) end
  end
end

-- Numbers of states, each once.
local function slot_counts(least)
  return function(text)
    local list, wanted = {}, ("integers in %d .. 4194304"):format(least)
    for part in (text .. ","):gmatch "([^,]*)," do
      local n = values.decimal(part:match "^%s*(.-)%s*$")
      if not n or n < least or n > 2^22 or n % 1 ~= 0 then return nil, wanted end
      for _, other in ipairs(list) do
        if other == n then return nil, wanted .. ", each once" end
      end
      list[#list + 1] = n
    end
    return list, wanted
  end
end

-- Caches on the command line, each loaded once: none is run before the last one is known to be fit. And what
-- each is called: by its name, or where several have that one, by its path.
local function load(args)
  local list, count = {}, {}
  for _, what in ipairs(args.cache) do
    values.read("--cache", what, values.text "a name or a path")
    local name = NONE
    if what ~= NONE then
      local cache, message = inputs.load("cache", what, args)
      if not cache then fail("%s", message) end
      name = cache.name
    end
    for _, other in ipairs(list) do
      if other.what == what then fail("--cache %s stands there twice, want it once", what) end
    end
    list[#list + 1], count[name] = { what = what, name = name }, (count[name] or 0) + 1
  end
  for _, entry in ipairs(list) do
    entry.label = count[entry.name] == 1 and entry.name or foreign_text.long(entry.what)
  end
  return list
end

-- Without a workload: sessions that are made up.
local function workload(base, alone)
  if base.requests or base.trace or base.workload then return end
  base.workload = { kind = "conversation", sessions = not alone and SESSIONS or nil }
  if not alone then base.rate = base.rate or RATE end
end

-- Options of sim.run for a host tier: host_slots and host_link.
local function host_tier(args)
  if args.host_link and not args.host_slots then fail "--host-link wants --host-slots with it" end
  return values.read("--host-slots", args.host_slots, values.integer(0, 2^22)),
         values.read("--host-link", args.host_link, values.number(1e-3, 1e6, "GB per second"))
end

--- The runs that the command line asks for.
---@param args table parsed
---@param base table options of sim.run; gets a workload where there is none
---@return table cells { cache (of sim.run, or nil), cache_slots, host_slots, host_link, name (of the cache),
--- label }
function M.cells(args, base)
  if args.cache_slots and args.slots and not args.slots_only then
    fail "--slots and --cache-slots exclude each other"
  end
  local caches = load(args)
  local text = args.cache_slots or (args.slots_only and ALONE or SLOTS)
  local slots = values.read("--cache-slots", text, slot_counts(args.slots_only and 1 or 0))
  workload(base, args.slots_only)
  local host_slots, host_link = host_tier(args)
  local cells, none = {}, false
  for _, cache in ipairs(caches) do
    if cache.what == NONE then
      cells[#cells + 1], none = { label = "no cache" }, true
    else
      for _, n in ipairs(args.slots and { false } or slots) do
        local label = #slots > 1 and ("%s %d"):format(cache.label, n) or cache.label
        cells[#cells + 1] = { cache = cache.what, cache_slots = n or nil, host_slots = host_slots,
                              host_link = host_link, name = cache.label, label = label }
      end
    end
  end
  if not none and not args.label then table.insert(cells, 1, { label = "no cache" }) end
  return cells
end

--- Options of sim.run for a run of a cell, besides those that all runs have.
function M.options(args, cell)
  return { cache = cell.cache, cache_slots = cell.cache_slots, cache_replies = args.cache_replies,
           host_slots = cell.host_slots, host_link = cell.host_link }
end

--- The same as arguments of gdnmeta simulate.
---@return table argv
function M.argv(args, cell)
  local argv = { "--cache", cell.cache or NONE }
  for _, name in ipairs { "cache_slots", "host_slots", "host_link" } do
    if cell[name] then
      argv[#argv + 1], argv[#argv + 2] = "--" .. name:gsub("_", "-"), ("%.15g"):format(cell[name])
    end
  end
  if args.cache_replies then argv[#argv + 1] = "--cache-replies" end
  return argv
end

--- Before hours of work: refuse a workload without identity, in which every cache would find nothing.
---@param base table options of sim.run
---@param cells table
function M.check_identity(base, cells)
  local has_cache = false
  for _, cell in ipairs(cells) do has_cache = has_cache or cell.cache ~= nil end
  if not has_cache then return end
  local requests, message = require("gdnmeta.sim").load.requests(scenario.options(base))
  if not requests then fail("%s", refusals.by_flag(message)) end
  local identity
  identity, message = prompt_ids.of(requests, scenario.options(base))
  if not identity then fail("%s", message) end
end

return M
