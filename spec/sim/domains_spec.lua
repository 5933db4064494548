-- What every option takes and with which words it refuses the rest: tried at both ends of what it says, and
-- written down whole in spec/goldens/texts/domains.txt.
local acceptance = require "gdnmeta.sim.acceptance"
local submit = require "gdnmeta.engine.submit"
local classes = require "gdnmeta.sim.classes"
local flags = require "gdnmeta.cli.flags"
local cli_values = require "gdnmeta.cli.values"
local cost = require "gdnmeta.sim.cost"
local dialogues = require "gdnmeta.sim.dialogues"
local engine_options = require "gdnmeta.engine.options"
local flatten = require "spec.support.flat"
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local options = require "gdnmeta.builder.options"
local presets = require "gdnmeta.sim.presets"
local reference = require "gdnmeta.reference"
local given = require "gdnmeta.native.options"
local setup_options = require("gdnmeta.sim.scenario").OPTIONS
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local function sorted(list)
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Those of a list first, then all others that `all` has.
local function with_others(list, all)
  local names, listed = { unpack(list) }, {}
  for _, name in ipairs(list) do listed[name] = true end
  for _, name in ipairs(sorted(all)) do
    if not listed[name] then names[#names + 1] = name end
  end
  return names
end

-- A function that raises as one that returns nil, message; without the place.
local function quiet(call)
  return function(...)
    local ok, value, message = pcall(call, ...)
    if ok then return value, message end
    return nil, (tostring(value):gsub("^[^:\n]*:%d+: ", ""))
  end
end

local function draw() return 0.5 end

-- { what, the options' names, those that are given beside, what takes them }
local DOORS = {
  { "gdnmeta.builder", { "device", "rules", "max_num_seqs", "max_num_batched_tokens", "max_rows",
    "num_speculative_tokens", "full_cuda_graph", "max_cudagraph_capture_size", "mamba_cache_mode",
    "mamba_block_size", "num_speculative_blocks", "num_groups", "num_slots", "max_requests",
    "max_blocks_per_row", "parallel_drafting", "decode_context_parallel_size", "check_unique", "pad_slot_id",
    "query_start_loc_dtype", "check", "poison" }, {}, options.parse },
  { "gdnmeta.engine", with_others({ "max_model_len", "max_num_seqs", "max_num_batched_tokens",
    "long_prefill_token_threshold", "chunked_prefill", "kv_tokens", "kv_block_size", "kv_watermark",
    "kv_headroom", "preempt_limit", "admit_after_preemption", "async", "default_drafts", "aging",
    "ttft", "tpot", "cost", "rekey_limit",
    "policy_budget", "policy_seconds", "breaker", "on_policy_error", "stopwatch", "seed", "capture_sizes",
    "mixed_capture_sizes" }, engine_options.DOMAINS), { stopwatch = draw }, engine_options.parse },
  { "submit", with_others({ "id", "prompt_tokens", "max_tokens", "arrival", "user", "class", "weight",
    "priority", "ttft", "tpot", "deadline", "checkpoint" }, submit.FIELDS),
    { id = 1, prompt_tokens = 1, max_tokens = 1 }, submit.read },
  { "sim.run", sorted(setup_options), {},
    quiet(function(o) return given.parse("sim.run", o, setup_options) end) },
  { "acceptance", { "drafts", "rates", "mean", "recorded", "spread", "half_context", "seed" }, { drafts = 3 },
    quiet(acceptance.new) },
  { "cost", { "c0", "c_w", "c_experts", "c_tok", "c_pf", "c_seq", "c_state", "c_ctx", "c_att", "c_draft",
    "c_eager", "c_cpu", "c_cpu_row", "active", "overlap", "async" }, { c0 = 1 }, quiet(cost.new) },
  { "workload", { "seed", "rate", "prompt_median", "prompt_sigma", "prompt_max", "output_median",
    "output_sigma", "output_max" }, { requests = 2 }, quiet(workload.generate) },
  { "reference.layer", { "heads", "key_dim", "value_dim", "width", "num_spec", "num_slots", "form", "draw" },
    { num_slots = 2, draw = draw, heads = 1, key_dim = 1, value_dim = 1 }, quiet(reference.layer) },
  { "policy", { "name", "order", "decode_first", "static", "trusted", "group", "chunk", "drafts", "victim",
    "key", "admit", "step", "on_arrival", "on_emit", "on_finish", "on_preempt", "on_admit",
    "preempt_for" }, {}, quiet(gdn.policy) },
  { "dialogues", { "kind", "seed", "block_size" }, { sessions = 1, kind = "synthetic" },
    quiet(dialogues.generate) },
  { "trace", { "skip", "limit", "time_unit", "block_size", "progress" }, {}, quiet(function(o)
    return trace.parse('{"timestamp":0,"input_length":5,"output_length":2,"hash_ids":[1]}', "t", o)
  end) },
  { "metrics", { "classes", "labels" }, {}, require("gdnmeta.metrics.options").read },
  { "policy's options", { "trusted", "name", "source" }, {},
    quiet(function(o) return gdn.policy("fcfs", o) end) },
}

-- What the command line takes, flag by flag: texts.
local TEXTS = { "", "0", "1", "1.5", "-1", "+1", "1e3", "1e", ".5", "5.", "0x10", "nan", "inf", "x", "s",
  "ns", "none",
  "align", "a=1", "rate=1,requests=2", "a=1,a=2", "rate=0", "rate=2", "rate=1e7", "0.9", "0.9,0.8",
    "0.9 0.8", "0.9,-1",
  "constant-20ms", "nowhere/none", "chat:0.5;batch:1", "chat", "c0=1" }

-- Every flag with what it makes of each text, and of the ends of the range that it names.
local function flag_text(o)
  local flag, reader, lines = o[1], o[4], {}
  local function try(text)
    local ok, value = pcall(cli_values.read, flag, text, reader)
    local said = ok and flatten("", value):gsub("\n", ", "):gsub("^ ", "") or "! "
      .. tostring(value.message or value)
    lines[#lines + 1] = ("  %q: %s"):format(text, (said:gsub("^! " .. flag:gsub("%-", "%%-")
      .. " = .-, want", "want")))
    return not ok and said:match "want an? [%a ]- in (%S+) %.%. (%S+)$"
  end
  local seen = {}
  for _, text in ipairs(TEXTS) do
    local low = try(text)
    if low and not seen[low] then
      seen[low] = true
      local _, wanted = reader "x"
      for _, bound in ipairs { tonumber(low), tonumber(wanted:match "%.%. (%S+)$") } do
        for _, near in ipairs { bound - 1, bound, bound + 1 } do try(("%.15g"):format(near)) end
      end
    end
  end
  return flag .. "\n" .. table.concat(lines, "\n")
end

local VALUES = {
  -1, 0, 0.5, 1, 2, 3, 65536, 65537, 2 ^ 31 - 1, 2 ^ 31, 2 ^ 32, -1 / 0, 1 / 0, 0 / 0, "", "x", "none",
  "fcfs", "user", "last", "fallback", "strict", "cpu", true, false, {}, { 1 }, { 1, 3 }, { 3, 1 }, draw,
}

local function shown(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) == "number" then return value ~= value and "nan" or ("%.14g"):format(value) end
  if type(value) ~= "table" then return type(value) == "function" and "a function" or tostring(value) end
  return "{ " .. table.concat(value, ", ") .. " }"
end

-- Every value, and those at the ends of ranges that are named when others are refused.
local function values_of(try)
  local list, seen, in_list = {}, {}, {}
  local function add(value)
    if value ~= value or not seen[value] then list[#list + 1] = value end
    if value == value then seen[value] = true end
  end
  for _, value in ipairs(VALUES) do add(value) end
  local is_list = try { 1 } ~= nil
  for _, value in ipairs(VALUES) do
    local _, message = try(value)
    local low, high = tostring(message):match "want an? [%a ]- in (%S+) %.%. (%S+)"
    for _, text in ipairs { low or "", high or "" } do
      local bound = tonumber(text)
      if bound and math.abs(bound) < 2 ^ 53 then
        for _, near in ipairs { bound - 1, bound, bound + 1 } do
          if is_list and near ~= 1 and not in_list[near] then list[#list + 1] = { near } end
          in_list[near] = true
          add(near)
        end
      end
    end
  end
  return list
end

-- "  name" and a line for what is taken, one for each way in which the rest is refused.
local function describe_option(door, name)
  local function try(value)
    local o = {}
    for key, other in pairs(door[3]) do o[key] = other end
    o[name] = value
    return door[4](o)
  end
  local taken, reasons, refused = {}, {}, {}
  for _, value in ipairs(values_of(try)) do
    local made, message = try(value)
    if made ~= nil then
      taken[#taken + 1] = shown(value)
    else
      message = message:gsub("table: 0x%x+", "a table"):gsub("function: [%w#]+", "a function")
      local reason = message:match "want .*$" or message
      assert.is_truthy(message:find(name, 1, true) or not message:find " = .*want ", message)
      if not refused[reason] then refused[reason], reasons[#reasons + 1] = {}, reason end
      table.insert(refused[reason], shown(value))
    end
  end
  local lines = { "  " .. name, "    takes " .. table.concat(taken, ", ") }
  for _, reason in ipairs(reasons) do
    lines[#lines + 1] = ("    %s: not %s"):format(reason, table.concat(refused[reason], ", "))
  end
  return table.concat(lines, "\n")
end

local function flat(value, indent)
  local lines = {}
  for _, name in ipairs(sorted(value)) do
    local field = value[name]
    if type(field) == "table" then
      lines[#lines + 1] = indent .. name .. "\n" .. flat(field, indent .. "  ")
    elseif type(field) ~= "cdata" and type(field) ~= "function" then
      lines[#lines + 1] = ("%s%s = %s"):format(indent, name, shown(field))
    end
  end
  return table.concat(lines, "\n")
end

describe("Options", function()
  it("take what they say, and refuse the rest with those words", function()
    local parts = {}
    for _, door in ipairs(DOORS) do
      parts[#parts + 1] = door[1]
      for _, name in ipairs(door[2]) do parts[#parts + 1] = describe_option(door, name) end
    end
    golden("domains", table.concat(parts, "\n") .. "\n")
  end)

  it("that do not exist are named, and so is what is no table", function()
    local parts = {}
    for _, door in ipairs(DOORS) do
      for _, wrong in ipairs { { no_such_option = 1 }, "text", 5 } do
        if door[1] ~= "policy" or type(wrong) == "table" then
          local o = wrong
          if type(wrong) == "table" then
            o = { no_such_option = 1 }
            for key, other in pairs(door[3]) do o[key] = other end
          end
          local ok, made, message = pcall(door[4], o)
          local answer = ok and made == nil and message or ok and "taken" or made
          parts[#parts + 1] = ("%s: %s"):format(door[1], answer)
        end
      end
    end
    golden("unknown", table.concat(parts, "\n") .. "\n")
  end)

  it("have defaults", function()
    golden("defaults", table.concat({ "builder", flat(assert(options.parse {}), "  "), "engine",
      flat(assert(engine_options.parse {}), "  "), "sim.run", flat(given.parse("x", {}, setup_options), "  "),
      "presets", flat(presets.list, "  ") }, "\n") .. "\n")
  end)

  it("of the command line are texts", function()
    local parts = {}
    for _, o in ipairs(flags.list) do parts[#parts + 1] = o[4] and flag_text(o) or o[1] end
    golden("flags", table.concat(parts, "\n") .. "\n")
  end)

  it("of classes are written in one text", function()
    local parts = {}
    for _, text in ipairs {
      "chat:0.7,priority=0,ttft=1;batch:0.3,priority=5", "a", "a:1", "a:0", "a:-1", "a:x", "a:1,priority",
      "a:1,priority=x", "a:1,nope=1", "a:1;a:1", "", ";", "a:1;", "a:0.5;b:0.6", "a:1,weight=0",
      "a:1,weight=2,tpot=0.5,deadline=9", "a:1,ttft=-1", ":1", "a:1e9", "a b:1",
    } do
      local list, message = quiet(classes.parse)(text)
      parts[#parts + 1] = ("%q\n%s"):format(text, list and flat(list, "  ") or "  " .. tostring(message))
    end
    golden("classes", table.concat(parts, "\n") .. "\n")
  end)
end)
