-- Runs cases of the vectors (spec/goldens) through the public API. One case is one line of JSON; the
-- runner (spec/conformance.lua) and the specs share this file.
local cjson = require "cjson"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"

local EINVAL = tonumber(lib.GDN_EINVAL)

local M = {}

--- Top level of a decoded object without its nulls: an absent option is not given.
function M.without_nulls(object)
  local out = {}
  for key, value in pairs(object) do
    if value ~= cjson.null then out[key] = value end
  end
  return out
end

-- The same configuration has the same text, whatever order its keys come in.
local function text_of(value)
  if type(value) ~= "table" then return tostring(value) end
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  local parts = {}
  for i, key in ipairs(keys) do
    local item = value[key]
    if item == nil then item = value[tonumber(key)] end
    parts[i] = key .. "=" .. text_of(item)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local Runner = {}
Runner.__index = Runner

local KEPT = 64 -- builders; files of vectors may have thousands of configurations

--- A runner keeps the builders it makes, by configuration, until there are many, or until close().
---@param device string  what gdn.builder takes
function M.runner(device)
  return setmetatable({ device = device, builders = {}, kept = 0 }, Runner)
end

function Runner:close()
  for _, builder in pairs(self.builders) do builder:close() end
  self.builders, self.kept = {}, 0
end

-- A builder that is too small for the case is replaced, not kept: no case may depend on another.
function Runner:builder(case)
  local options, inputs = M.without_nulls(case.config), case.inputs
  options.rules, options.device = case.rules, self.device
  local loc = inputs.query_start_loc
  local rows = math.max(#loc - 1, inputs.num_reqs, 1)
  local tokens = math.max(loc[#loc] or 0, inputs.num_actual_tokens, 1)
  local key = text_of(options)
  local kept = self.builders[key]
  if kept then
    if kept.max_rows >= rows and kept.max_num_batched_tokens >= tokens then return kept end
    kept:close()
    self.builders[key], self.kept = nil, self.kept - 1
  end
  if self.kept >= KEPT then self:close() end
  options.max_rows = options.max_rows or rows
  options.max_num_batched_tokens = options.max_num_batched_tokens or tokens
  local builder, reason, code = gdn.builder(options)
  self.builders[key], self.kept = builder, self.kept + (builder and 1 or 0)
  return builder, reason, code
end

local function builder_fields(expect, builder)
  for name, want in pairs(expect) do
    if builder[name] ~= want then
      return ("builder.%s: want %s, got %s"):format(name, tostring(want), tostring(builder[name]))
    end
  end
end

local function same_list(field, want, got)
  for i = 1, math.max(#want, #got) do
    local a, b = want[i], got[i]
    if type(a) == "table" and type(b) == "table" then
      local reason = same_list(("%s[%d]"):format(field, i - 1), a, b)
      if reason then return reason end
    elseif a ~= b then
      return ("%s[%d]: want %s, got %s"):format(field, i - 1, tostring(a), tostring(b))
    end
  end
end

local function run_reorder(case)
  local expect, got = case.expect, gdn.reorder { decode_threshold = case.decode_threshold,
    num_scheduled = case.num_scheduled, num_computed = case.num_computed, num_prompt = case.num_prompt }
  if got.modified ~= expect.modified then
    return ("modified: want %s, got %s"):format(tostring(expect.modified), tostring(got.modified))
  end
  return same_list("order", expect.order, got.order) or same_list("swaps", expect.swaps, got.swaps)
end

function Runner:run_build(case)
  local expect = case.expect
  local builder, reason, code = self:builder(case)
  local meta
  -- No device or no memory is no verdict on the case.
  if not builder and code ~= EINVAL then return "no builder: " .. reason end
  if builder then
    local inputs = M.without_nulls(case.inputs)
    inputs.capture = nil
    if case.inputs.capture == true then
      meta, reason = builder:capture(inputs)
    else
      meta, reason = builder:build_raw(inputs)
    end
  end
  if expect.error then
    return meta and "built, want it refused: " .. tostring(expect.error) or nil
  end
  if not meta then return "refused: " .. tostring(reason) end
  return compare.expected(expect, meta) or builder_fields(expect.builder or {}, builder)
end

--- Run one case. Returns nil when it passes, else the first difference.
function Runner:run(case)
  local ok, reason
  if case.decode_threshold then
    ok, reason = pcall(run_reorder, case)
  else
    ok, reason = pcall(self.run_build, self, case)
  end
  if ok then return reason end
  return "raised: " .. tostring(reason)
end

--- Cases of a file, one at a time: for case, line in vectors.cases(path). Raises when the file cannot
--- be read or a line is no case.
function M.cases(path)
  local file = assert(io.open(path))
  local number = 0
  return function()
    for line in file:lines() do
      number = number + 1
      if line:find "%S" then
        local ok, case = pcall(cjson.decode, line)
        if not ok or type(case) ~= "table" or type(case.expect) ~= "table" then
          file:close()
          error(("%s:%d: not a case: %s"):format(path, number, ok and "no expect" or tostring(case)), 0)
        end
        return case, number
      end
    end
    file:close()
  end
end

return M
