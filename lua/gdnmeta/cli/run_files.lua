-- Results as files: runs as JSON, one run per line, and what such a file must contain to be read back. A file
-- may come from another machine, be truncated or edited: a value that tables and pages cannot use is named.
local args = require "gdnmeta.native.args"
local fail = require("gdnmeta.cli.values").fail
local raised = require "gdnmeta.policy.contained.raised"
local values = require "gdnmeta.cli.values"

local M = {}

local FORMAT = 1 -- of the JSON; others are refused

local function json()
  local cjson, why = raised.module("cjson", "lua-cjson")
  if not cjson then fail(why) end
  return cjson.new()
end

--- Runs as JSON; what a run knows of single requests stays out.
---@param command string
---@param runs table
---@return string
function M.text(command, runs)
  local encode, list = json().encode, {}
  for i, run in ipairs(runs) do
    local copy = {}
    for name, value in pairs(run) do
      if name ~= "per_request" then copy[name] = value end
    end
    list[i] = encode(copy)
  end
  return ('{"gdnmeta":%d,"command":%s,"runs":[\n%s\n]}\n'):format(FORMAT, encode(command),
    table.concat(list, ",\n"))
end

--- Replays by state slots alone as JSON, without what they know of single requests.
---@param command string
---@param runs table of lab.replay
---@param facts table what was replayed
---@return string
function M.replays(command, runs, facts)
  local encode, list = json().encode, {}
  for i, run in ipairs(runs) do
    local copy = {}
    for name, value in pairs(run) do
      if name ~= "cached" then copy[name] = value end
    end
    list[i] = encode(copy)
  end
  return ('{"gdnmeta":%d,"command":%s,"facts":%s,"replays":[\n%s\n]}\n'):format(FORMAT, encode(command),
    encode(facts), table.concat(list, ",\n"))
end

-- What tables and pages read of a run. "?" and maybe: it may be missing.
local NUMBER, MAYBE, TEXT = "a number", "a number?", "a string"
local SUMMARY = { p50 = MAYBE, p90 = MAYBE, p99 = MAYBE, max = MAYBE } -- of nothing: all missing
local KIND = { steps = NUMBER, share = NUMBER, waste = NUMBER }
local CLASS = { name = TEXT, requests = NUMBER, finished = NUMBER, rejected = NUMBER, attainment = NUMBER,
                longest_wait_ms = NUMBER, queue = SUMMARY, ttft = SUMMARY, tpot = SUMMARY, e2e = SUMMARY,
                itl = { maybe = true, p99 = MAYBE, max = MAYBE } }
local SHAPE = {
  policy = TEXT, requests = NUMBER, finished = NUMBER, rejected = NUMBER, rejection = TEXT .. "?",
  seconds = NUMBER, steps = NUMBER, attainment = NUMBER, goodput = NUMBER, preemptions = NUMBER,
  recompute_tax = NUMBER, fallbacks = NUMBER, longest_wait_ms = NUMBER,
  stalled = MAYBE, starved = MAYBE, longest_waiter = MAYBE,
  tokens_in_per_second = NUMBER, tokens_out_per_second = NUMBER,
  ttft = SUMMARY, itl = SUMMARY, itl_token = SUMMARY, tpot = SUMMARY, e2e = SUMMARY, queue = SUMMARY,
  normalised = SUMMARY, wall = { policy_us = SUMMARY, build_us = SUMMARY },
  setup = { workload = TEXT, rate = MAYBE, rate_unit = TEXT .. "?", seed = NUMBER, cost_name = TEXT,
            max_num_seqs = NUMBER,
            max_num_batched_tokens = NUMBER, kv_tokens = NUMBER, num_groups = NUMBER,
            mamba_cache_mode = TEXT, num_speculative_tokens = NUMBER, notices = "sentences?",
            distinct = { maybe = true, users = NUMBER, classes = NUMBER, priorities = NUMBER } },
  targets = { ttft_ms = NUMBER, tpot_ms = NUMBER, gap_ms = MAYBE },
  batch = { rows = NUMBER, most_rows = NUMBER, tokens = NUMBER, fill = NUMBER },
  padding = { waste = NUMBER, kinds = { full = KIND, piecewise = KIND, eager = KIND } },
  slots = { mean = NUMBER, peak = NUMBER, pool = NUMBER },
  fairness = { backlogged_users = NUMBER, max_gap = NUMBER, jain = MAYBE, least = MAYBE,
               longest_without = MAYBE },
  conservation = { scheduled = NUMBER, once = NUMBER, again = NUMBER, drafts = NUMBER, wasted = NUMBER,
                   outputs = NUMBER, unfinished = MAYBE, cached = MAYBE },
  curves = { ttft = "a list of points", itl = "a list of points" },
  failure = { maybe = true, step = NUMBER, hook = TEXT, message = TEXT, never = TEXT .. "?" },
  classes = { maybe = true, each = CLASS },
  timeline = { maybe = true, each = { waiting = MAYBE, asked = MAYBE, hit = MAYBE } },
  cache = { maybe = true, name = TEXT, slots = NUMBER, block_size = NUMBER, prompt_tokens = NUMBER,
            hit_tokens = NUMBER, hit = NUMBER, ceiling = NUMBER, hit_requests = NUMBER,
            resumed_tokens = NUMBER, states_made = NUMBER, states_unread = NUMBER,
            host = { maybe = true, slots = NUMBER, hits = NUMBER, hit_tokens = NUMBER, demoted = NUMBER,
                     restored = NUMBER, most_states = NUMBER, copy_ms = MAYBE, copied_ms = MAYBE },
            states_evicted = NUMBER, most_states = NUMBER, most_bytes = MAYBE, without_identity = MAYBE,
            failure = { maybe = true, step = NUMBER, hook = TEXT, message = TEXT, never = TEXT .. "?" } },
  speculation = { maybe = true, drafts = NUMBER, tokens = NUMBER, accepted = NUMBER },
}

local function finite(value) return type(value) == "number" and math.abs(value) < math.huge end

local function fits(value, kind)
  if kind == "a number" then return finite(value) end
  if kind == "a string" then return type(value) == "string" end
  if type(value) ~= "table" then return false end
  for _, element in ipairs(value) do
    local ok = type(element) == "table" and finite(element[1]) and finite(element[2]) -- a point
    if kind == "sentences" then ok = type(element) == "string" end
    if not ok then return false end
  end
  return true
end

-- What is wrong with `value`, by the name that it has in the file; JSON's nulls become nil.
local function problem_of(name, value, shape)
  if value == nil and shape.maybe then return nil end
  if type(value) ~= "table" then return args.wrong(name, value, "an object") end
  if shape.each then
    for i, element in ipairs(value) do
      local problem = problem_of(("%s[%d]"):format(name, i), element, shape.each)
      if problem then return problem end
    end
    return nil
  end
  for field, kind in pairs(shape) do
    if args.absent(value[field]) then value[field] = nil end
    local inner, path, problem = value[field], name .. "." .. field, nil
    if type(kind) == "table" then
      problem = problem_of(path, inner, kind)
    elseif kind ~= true and not (inner == nil and kind:find "%?$") then
      kind = kind:gsub("%?$", "")
      problem = not fits(inner, kind) and args.wrong(path, inner, kind)
    end
    if problem then return problem end
  end
end

-- The line on which the wanted run of a document begins, an element of the list within it. Strings, which may
-- hold brackets, count as one character.
local function line_of(text, wanted)
  local line, depth, n, due = 1, 0, 0, false
  for c in text:gsub("\\.", ""):gsub('"[^"]*"', "s"):gmatch "[^ \t\r]" do
    if c == "\n" then
      line = line + 1
    else
      if due then n = n + 1 end
      if n == wanted then break end
      depth = depth + ((c == "[" or c == "{") and 1 or (c == "]" or c == "}") and -1 or 0)
      due = depth == 2 and (c == "[" or c == ",")
    end
  end
  return line
end

--- Runs of a file that holds M.text.
---@param path string
---@return table runs
function M.read(path)
  values.read("files", path, values.text "paths")
  local text, why = require "gdnmeta.native.read_file"(path)
  if not text then fail("%s", why) end
  local function refuse(line, message) fail("%s:%d: %s", path, line, message) end
  local ok, document = pcall(json().decode, text)
  if not ok then
    local at = tonumber(document:match "at character (%d+)$") or 1
    refuse(1 + select(2, text:sub(1, at - 1):gsub("\n", "")), document)
  end
  if type(document) ~= "table" or document.gdnmeta ~= FORMAT then
    refuse(1, args.wrong("gdnmeta", type(document) == "table" and document.gdnmeta or nil,
      ("%d: a result of gdnmeta simulate"):format(FORMAT)))
  end
  if type(document.runs) ~= "table" then refuse(1, args.wrong("runs", document.runs, "a list")) end
  for i, run in ipairs(document.runs) do
    local problem = problem_of(("runs[%d]"):format(i), run, SHAPE)
    if problem then refuse(line_of(text, i), problem) end
  end
  return document.runs
end

return M
