-- Builds recorded steps again, on any device and under any rules, and compares what comes of them.
local ffi = require "ffi"
local fields = require("gdnmeta.native.schema").fields
local builders = require "gdnmeta.builder"
local checksum = require "gdnmeta.record.checksum"
local format = require "gdnmeta.record.format"

local Rebuild = {}
Rebuild.__index = Rebuild

-- The cell that a row reads, then its window, zeros around them. The reader has checked the columns.
local function write_blocks(self, step)
  local facts = self.facts
  local stride = facts.max_blocks_per_row
  for group = 1, facts.num_groups do
    local cells, blocks, reads = self.tables[group], step.blocks[group], step.read_blocks
    for i, row in ipairs(step.table_row) do
      local target = cells + row * stride
      local first, width = format.window(facts, step.seq_len[i])
      ffi.fill(target, stride * 4)
      if reads and step.read_column[i] >= 0 then target[step.read_column[i]] = reads[group][i] end
      for k = 0, width - 1 do target[first + k] = blocks[(i - 1) * width + k + 1] end
    end
  end
end

-- Those of the states that row i of the batch keeps before its end.
local function write_checkpoint(rows, step, i)
  rows.checkpoint_len[i - 1] = step.checkpoint_len[i]
  for group = 1, rows.num_groups do
    rows.checkpoint_slot[(group - 1) * rows.max_rows + i - 1] = step.checkpoint_slot[group][i]
  end
end

--- Build a step.
---@param step table as the reader gives it
---@return table|nil metadata
---@return string? message
---@return integer? code
function Rebuild:build(step)
  local batch = self.batch
  write_blocks(self, step)
  batch:clear()
  for i, query_len in ipairs(step.query_len) do
    batch:push(step.table_row[i], query_len, step.seq_len[i], step.prompt_done[i] == 1, step.drafts[i],
               step.accepted[i], step.read_column[i])
    if step.checkpoint_len then write_checkpoint(batch.rows, step, i) end
  end
  local ok, message, code = batch:pad(step.padded_rows, step.padded_tokens)
  if not ok then return nil, message, code end
  return self.builder:build(batch)
end

--- What differs between a step's recorded outcome and the last build, by the names of counts and tensors.
---@param step table
---@param meta table
---@return table differ list of { name, group, only }: group is 0-based, or nil; only is "recorded" or "built"
---  where the other has no such tensor, else nil
---@return integer compared values that both have
function Rebuild:differences(step, meta)
  local differ, compared = {}, #step.counts
  for i, was in ipairs(step.counts) do
    local name = fields.counts[i]
    if (meta[name] or 0) ~= was then differ[#differ + 1] = { name = name } end
  end
  local sums = checksum.step(self.builder, meta)
  for _, name in ipairs(fields.tensors) do
    local was, is = step.sums[name], sums[name]
    for group = 1, was and is and #is or 0 do
      compared = compared + 1
      if was[group] ~= is[group] then
        differ[#differ + 1] = { name = name, group = fields.per_group[name] and group - 1 or nil }
      end
    end
    if (was == nil) ~= (is == nil) then
      differ[#differ + 1] = { name = name, only = was and "recorded" or "built" }
    end
  end
  return differ, compared
end

function Rebuild:close()
  self.batch:close()
  self.builder:close()
end

local M = {}

--- A builder for a recording's steps.
---@param header table
---@param device string
---@param rules string|nil nil: those it was recorded under
---@return table|nil rebuild
---@return string? message
---@return integer? code
function M.new(header, device, rules)
  local options = {}
  for name, value in pairs(header.builder) do options[name] = value end
  options.device, options.rules = device, rules or options.rules
  if options.rules ~= "strict" then options.checkpoint_any = nil end
  if options.rules ~= "strict" and options.rules ~= "vllm-2026-11" then options.gdn_prefill_backend = nil end
  local builder, batch, message, code
  builder, message, code = builders.new(options)
  if not builder then return nil, message, code end
  batch, message, code = builder:batch()
  if not batch then
    builder:close()
    return nil, message, code
  end
  local self = { facts = header.builder, builder = builder, batch = batch, tables = {} }
  for group = 1, builder.num_groups do self.tables[group] = builder:table(group - 1) end
  return setmetatable(self, Rebuild)
end

return M
