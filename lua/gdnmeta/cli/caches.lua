-- gdnmeta simulate --cache: a workload whose prompts have identity, against caches, by state slots alone.
local cost = require "gdnmeta.sim.cost"
local fail = require("gdnmeta.cli.values").fail
local numbers = require "gdnmeta.sim.numbers"
local output = require "gdnmeta.cli.output"
local presets = require "gdnmeta.sim.presets"
local values = require "gdnmeta.cli.values"

local M = {}

local WINDOWS = 4

--- Declare the options.
function M.describe(parser)
  parser:option("--cache", "Replay against a prefix cache instead, by state slots alone: a shipped one, or "
    .. "path of a file; repeat for several (none)."):count "*":argname "CACHE"
  parser:option("--cache-slots", "Numbers of states that it keeps (64,256,1024,4096)."):argname "N,..."
end

local function slot_counts(text)
  local list = {}
  for part in text:gmatch "[^,%s]+" do
    local n = values.decimal(part)
    if not n or n < 1 or n > 2^22 or n % 1 ~= 0 then return nil, "integers in 1 .. 4194304" end
    list[#list + 1] = n
  end
  return #list > 0 and list or nil, "integers in 1 .. 4194304"
end

-- Milliseconds until the first token of a prompt alone, on average.
local function first_token(model, requests, cached)
  local sum = 0
  for i, r in ipairs(requests) do
    local hit = cached and cached[i] or 0
    local n = r.prompt - hit
    sum = sum + model:ms(n, n, 1, 0, n * hit + n * n / 2, 0, false, 0)
  end
  return sum / #requests
end

local COLUMNS = { "cache", "slots", "hit %", "by quarter", "prompts", "states", "never read", "GiB",
                  "first ms" }

local function row(run, model, requests)
  local quarters = {}
  for i, window in ipairs(run.over_time) do quarters[i] = ("%.0f"):format(100 * window.hit) end
  return { run.cache, numbers.count(run.slots), ("%.2f"):format(100 * run.hit), table.concat(quarters, " "),
           ("%.1f %%"):format(100 * run.hit_requests), numbers.count(run.made),
           ("%.1f %%"):format(100 * run.unused / math.max(1, run.made)),
           ("%.1f"):format(run.bytes / 2^30),
           numbers.number(first_token(model, requests, run.cached)) }
end

local function aligned(rows)
  local widths, lines = {}, {}
  for _, cells in ipairs(rows) do
    for k, cell in ipairs(cells) do widths[k] = math.max(widths[k] or 0, #cell) end
  end
  for i, cells in ipairs(rows) do
    local parts = {}
    for k, cell in ipairs(cells) do
      local pad = (" "):rep(widths[k] - #cell)
      parts[k] = k == 1 and cell .. pad or pad .. cell
    end
    lines[i] = (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  return table.concat(lines, "\n")
end

local STATE_BYTES = 147 * 2^20 -- of the default preset

--- The table of a workload against caches.
---@param args table parsed
---@param base table options of sim.run, with requests where a trace was given
---@return string
function M.text(args, base)
  local slots = values.read("--cache-slots", args.cache_slots or "64,256,1024,4096", slot_counts)
  local caches = {}
  for i, what in ipairs(args.cache) do
    local cache, message = require("gdnmeta").cache(what, { trusted = args.trusted })
    if not cache then fail("%s", message) end
    caches[i] = what
  end
  local sim = require "gdnmeta.sim"
  local requests = base.requests
  if not requests then requests = sim.dialogues.generate { seed = base.seed, sessions = base.sessions } end
  if not requests.block_size then
    fail("--cache: %s has no hash_ids, which say what prompts share", requests.name)
  end
  local preset = assert(presets.get(base.preset or presets.DEFAULT))
  local model = cost.new(base.cost or preset.coefficients)
  local rows = { COLUMNS }
  for _, what in ipairs(caches) do
    for _, n in ipairs(slots) do
      local cache = assert(require("gdnmeta").cache(what, { trusted = args.trusted }))
      local ok, run = pcall(sim.lab.replay, requests, cache, { slots = n, windows = WINDOWS,
        state_bytes = STATE_BYTES })
      if not ok then fail("cache %s: %s", cache.name, tostring(run)) end
      rows[#rows + 1] = row(run, model, requests)
    end
  end
  return ("%s requests of %s, blocks of %d tokens; at most %.2f %% of prompt tokens can be hits\n"
    .. "first ms: to the first token of a prompt alone, on average; %s without a cache\n\n%s"):format(
    numbers.count(#requests), requests.name, requests.block_size, 100 * sim.lab.ceiling(requests),
    numbers.number(first_token(model, requests)), aligned(rows))
end

--- Run it.
function M.run(args, base)
  for _, name in ipairs { "report", "json", "csv" } do
    if args[name] then fail("--%s and --cache exclude each other", name) end
  end
  output.say(M.text(args, base))
  return 0
end

return M
