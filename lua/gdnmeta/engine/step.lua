--- One step, as the host sees it: rows as C arrays in the order of the batch, lists of requests that came and
-- went. The object and its arrays are reused.
local ffi = require "ffi"
local args = require "gdnmeta.native.args"
local guarded_arrays = require "gdnmeta.engine.guarded_arrays"
local methods = require "gdnmeta.native.methods"
local clear = require "table.clear"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"
local INT32 = ffi.sizeof "int32_t"

---@class gdnmeta.Step
---@field number integer of the step, from 1
---@field now number seconds, as given to engine:step
---@field graph string "full", "piecewise" or "eager": how the model is to run it
---@field branches string the classes with rows: "none", or those of "speculative", "decode" and "prefill",
--- joined by "+"
---@field num_rows integer 0: nothing can run, and the step need not be completed
---@field num_decodes integer rows in front that decode
---@field num_tokens integer
---@field prefill_tokens integer
---@field decode_tokens integer
---@field padded_rows integer
---@field padded_tokens integer
---@field metadata gdnmeta.Metadata|nil of the build; nil in a step without rows
---@field batch gdnmeta.Batch that it was built from
---@field kv_table ffi.cdata*|nil const int32 [max_requests, engine.max_kv_blocks]; nil without kv_blocks, as
--- are the next three
---@field kv_slot_mapping ffi.cdata*|nil const int64 [padded_tokens]
---@field kv_device_table ffi.cdata*|nil of the same on the device; nil on the CPU
---@field kv_device_slot_mapping ffi.cdata*|nil likewise
---@field query_len ffi.cdata* int32 [num_rows] tokens now
---@field seq_len ffi.cdata* int32 [num_rows] tokens after them
---@field drafts ffi.cdata* int32 [num_rows] drafts among query_len; -1: not speculative
---@field samples ffi.cdata* int32 [num_rows] 1 where the row yields a token
---@field ids any[] of the rows' requests, from 1
---@field kv_copies table[] { from =, to = } blocks of attention cache to copy before the step runs
---@field demoted table { n, from, to } states to copy to the host before the step runs: n of them, from slots
--- from[k * num_groups + group] on the device to host slot to[k], k from 0 on
---@field restored table { n, from, to, row } likewise from host slot from[k] to slots
--- to[k * num_groups + group], after those of `demoted`; row[k] begins with it
---@field kept table[] places, of `keep` of requests, whose states the step leaves once it is complete
---@field admitted any[] ids
---@field preempted any[] ids
---@field rejected any[] ids
---@field finished any[] ids
---@field reasons table<any, string> why the policy rejected a request, by id
---@field fallback boolean the policy failed, and the built-in one planned this step
---@field policy_seconds number|nil by the engine's stopwatch
---@field build_seconds number|nil likewise
local Step = methods.Step
methods.strict("Step", Step, {
  metadata = true, policy_seconds = true, build_seconds = true, kv_place = true,
  kv_table = true, kv_slot_mapping = true, kv_device_table = true, kv_device_slot_mapping = true,
}, {
  accepted = { "accepted_drafts", function(self) return self.accepted_drafts end },
})

--- The id of a row's request.
---@param row integer 0-based
---@return any id
function Step:id(row)
  if getmetatable(self) ~= Step then methods.colon("Step", "id") end
  if type(row) ~= "number" or not (row >= 0 and row < self.num_rows) or row % 1 ~= 0 then
    error(("gdnmeta.Step:id: row = %s, want 0 .. %d"):format(args.show(row), self.num_rows - 1), 2)
  end
  return self.ids[row + 1]
end

function Step:__tostring()
  return ("gdnmeta.Step(number=%d, rows=%d, tokens=%d, padded=%dx%d, graph=%s%s)"):format(
    self.number, self.num_rows, self.num_tokens, self.padded_rows, self.padded_tokens, self.graph,
    self.fallback and ", fallback" or "")
end

local LISTS = { "admitted", "preempted", "rejected", "reasons", "finished", "kv_copies", "kept" }

-- How many things the lists hold; `reasons` has something only where `rejected` has. Without a loop, which
-- would cut the machine code of every step in two; and so are they cleared.
local function news(self)
  return #self.admitted + #self.preempted + #self.rejected + #self.finished + #self.kv_copies + #self.kept
end

local function clear_lists(self)
  clear(self.admitted)
  clear(self.preempted)
  clear(self.rejected)
  clear(self.reasons)
  clear(self.finished)
  clear(self.kv_copies)
  clear(self.kept)
end

-- Lists are cleared only where something is in one: most steps bring no news. Those of a step that was
-- not built were never reported: they go into the next one's.
---@local
function Step:begin(number, now)
  self.number, self.now, self.metadata, self.fallback = number, now, nil, false
  self.num_rows, self.num_decodes, self.num_tokens, self.prefill_tokens, self.decode_tokens = 0, 0, 0, 0, 0
  self.padded_rows, self.padded_tokens, self.graph, self.branches = 0, 0, "eager", "none"
  if not self.untold and news(self) > 0 then clear_lists(self) end
  self.untold = false
end

-- A batch as the step's arrays.
local function adopt(self, batch)
  local rows = batch.rows
  self.batch, self.rows = batch, rows
  self.query_len, self.seq_len, self.drafts = rows.query_len, rows.seq_len, rows.num_draft_tokens
  self.last_accepted, self.prompt_done = rows.num_accepted_tokens, rows.prompt_done
  self.table_row, self.read_column = rows.table_row, rows.read_column
end

local ARRAYS = { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                 "table_row", "read_column", "checkpoint_len", "seq_index", "accepted_index" }

--- Something wrote outside the batch, which cannot be used any more: continue with another one that has the
--- same rows. The old one's memory lives as long as it is referenced.
---@local
function Step:renew(batch)
  local old, new = self.rows, batch.rows
  for _, name in ipairs(ARRAYS) do
    if old[name] ~= nil then ffi.copy(new[name], old[name], INT32 * old.max_rows) end -- nil: none on the CPU
  end
  ffi.copy(new.checkpoint_slot, old.checkpoint_slot, INT32 * old.num_groups * old.max_rows)
  new.num_rows, new.indexed = old.num_rows, old.indexed
  new.padded_rows, new.padded_tokens = old.padded_rows, old.padded_tokens
  self.batch:hold(false)
  batch:hold(true)
  adopt(self, batch)
end

--- Checks for writes outside the step's own arrays, and undoes them.
---@return string|nil message
---@local
function Step:damage()
  local name = self.margins:damaged()
  if not name then return nil end
  return ("something wrote outside step.%s[0 .. %d]"):format(name, self.margins.length - 1)
end

local OPEN = { "accepted_drafts", "stop", "next_drafts", "emitted", "finish" } -- to the host

local M = {}

--- builder and batch: what the step is built with.
---@local
function M.new(builder, batch)
  local n = batch.rows.max_rows
  local self = {
    builder = builder, in_flight = false, untold = false,
    request = int32s(n), epoch = int32s(n), samples = int32s(n), column = int32s(n), read_before = int32s(n),
    planned = int32s(n), -- drafts of a decode, also in a step that drafts nothing
    ids = {}, demoted = { n = 0 }, restored = { n = 0 },
    keeping = {}, -- rows that leave states: { i, row, keep }
  }
  self.margins = guarded_arrays.new(self, OPEN, n)
  adopt(self, batch)
  for _, name in ipairs(LISTS) do self[name] = {} end
  Step.begin(self, 0, 0)
  return setmetatable(self, Step)
end

return M
