-- What the prompt says of a step is true of it: numbers are those of the tensors, and the rule that a text
-- names for a tensor to be there is the one that builds follow, in every mode of captured graphs.
--   GDN_SEED=N   replays a run      GDN_CASES=N   steps per rule set and mode
local each_step = require "spec.support.each_step"
local explain = require "gdnmeta.repl.explain"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 150

local ANY = "a step has it when some row is speculative, and a bucket's step "
local PREFILLS = "a step has it when it has prefills, and a bucket's step always"

local function speculative(meta) return meta.num_spec_decodes > 0 end
local function strict(config) return config.rules == "strict" end
local function triton(config) return config.gdn_prefill_backend ~= "flashinfer" end
local function other_tokens(meta) return not speculative(meta) or meta.num_prefill_tokens > 0 end
local function prefills(meta) return meta.num_prefills > 0 end
local PLACE = "; only rules strict read a state at another place than they write it"
local NOT_ALL = "a step lacks it when all its tokens are those of speculative rows"

-- The rules that texts name: would such a step have the tensor? Of buckets, too.
local RULES = {
  [ANY .. "when the builder's rows may be"] = function(meta, config, bucket)
    return bucket and config.num_speculative_tokens > 0 or not bucket and speculative(meta)
  end,
  [ANY .. "never: it has token_class"] = function(meta, _, bucket)
    return not bucket and speculative(meta)
  end,
  [NOT_ALL] = function(meta, _, bucket) return bucket or other_tokens(meta) end,
  [PREFILLS] = function(meta, _, bucket) return bucket or prefills(meta) end,
  ["a step has it when it has prefills that the Triton kernels compute, and a bucket's step always"] =
    function(meta, config, bucket) return bucket or prefills(meta) and triton(config) end,
  ['full_cuda_graph = "mixed" has it in every step'] = function(_, _, bucket) return bucket end,
}
RULES[ANY .. "when the builder's rows may be: there may be two kinds of tokens"] =
  RULES[ANY .. "when the builder's rows may be"]
for _, rule in ipairs { PREFILLS, NOT_ALL, ANY .. "when the builder's rows may be" } do
  RULES[rule .. PLACE] = function(meta, config, bucket)
    return strict(config) and RULES[rule](meta, config, bucket)
  end
end

-- Counted from the tensors, not from what explain counts.
local function rows_with_tokens(bounds)
  local n = 0
  for i = 1, #bounds - 1 do if bounds[i] > bounds[i - 1] then n = n + 1 end end
  return n
end

local function listed(text)
  if text == "none" then return 0 end
  local more = tonumber(text:match " and (%d+) more$") or 0
  return more + select(2, text:gsub(" and %d+ more$", ""):gsub("%d+", ""))
end

local function check_chunks(meta, text)
  local pairs_of, n, last = meta.chunk_indices, 0, nil
  local rows = rows_with_tokens(meta.prefill_query_start_loc)
  for i = 0, pairs_of.shape[1] - 1 do
    if meta.token_class == nil or pairs_of:at(i, 0) < rows then n, last = n + 1, i end
  end
  if n == 0 then return assert.matches("Here there is no chunk", text) end
  assert.matches(("Here %d chunk"):format(n), text)
  local named = ("chunk %d of prefill %d."):format(pairs_of:at(last, 1), pairs_of:at(last, 0))
  assert.is_truthy(text:find(named, 1, true), text)
  assert.are.equal(pairs_of.shape[1] - n, tonumber(text:match "Behind them (%d+)") or 0)
end

local function check_beginnings(meta, name, text)
  local view = meta[name]
  local bounds = meta[name:find "^prefill" and "prefill_query_start_loc" or "non_spec_query_start_loc"]
  local have, begin = text:match "have one: (.-)%. These begin: (.-)%.$"
  local trues = 0
  for i = 0, #view - 1 do
    if view[i] and i < #bounds - 1 and bounds[i + 1] > bounds[i] then trues = trues + 1 end
  end
  assert.are.equal(trues, listed(have), text)
  assert.are.equal(math.min(rows_with_tokens(bounds), #view), listed(have) + listed(begin), text)
end

local function check_tokens(meta, name, text)
  local view, live = meta[name], 0
  for i = 0, #view - 1 do live = live + (view[i] < meta.num_actual_tokens and 1 or 0) end
  if meta.token_class == nil then live = #view end
  if #view == 0 and name == "non_spec_token_indx" then return assert.matches("it is empty", text) end
  assert.matches(("Here %d token"):format(live), text)
  assert.are.equal(#view - live, tonumber(text:match "(%d+) stands? for padding") or 0, text)
end

local function check_step(config, meta)
  local bucket = meta.token_class ~= nil
  for _, name in ipairs(explain.names) do
    local text = explain.field(meta, name):gsub("%s+", " ")
    local rule = text:match "This step has none: (.*)%.$"
    if rule and not name:find "^checkpoint" and RULES[rule] then
      assert.is_false(RULES[rule](meta, config, bucket) and true or false, name .. ": " .. rule)
    elseif rule and not name:find "checkpoint" and name ~= "uniform_spec_sequence_length" then
      error(("%s: the rule is not known here: %s"):format(name, rule))
    elseif meta[name] ~= nil and name == "chunk_indices" then
      check_chunks(meta, text)
    elseif meta[name] ~= nil and name:find "has_initial_state$" then
      check_beginnings(meta, name, text)
    elseif meta[name] ~= nil and name:find "spec_token_indx$" then
      check_tokens(meta, name, text)
    elseif name == "num_decodes" then
      local none = text:find("A speculative step has none", 1, true) ~= nil
      assert.are.equal(not bucket, none, text)
      if none and speculative(meta) then assert.are.equal(0, meta.num_decodes) end
    elseif name == "num_prefills" and text:find("plain decodes too", 1, true) and speculative(meta) then
      assert.are.equal(0, meta.num_decodes)
    end
  end
end

describe("What the prompt says", function()
  print(("\nexplain_values_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))
  local MODES = { { "strict", "mixed" } }
  for _, rules in ipairs(each_step.RULES) do
    MODES[#MODES + 1], MODES[#MODES + 2] = { rules, false }, { rules, true }
  end
  for _, mode in ipairs(MODES) do
    it(("is true of steps under %s, full_cuda_graph = %s"):format(mode[1], tostring(mode[2])), function()
      local function check(builder, config)
        config.rules = mode[1]
        check_step(config, builder.metadata)
      end
      each_step.run(SEED, CASES, "cpu", mode[1], mode[2], function() end, check)
    end)
  end
end)
