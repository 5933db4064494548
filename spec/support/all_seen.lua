-- All that a host can see of an engine, value after value: of a step before and after it is complete, of each
-- request, and what prints. For sums that change with any of it.
local draw = require "gdnmeta.engine.draw"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local texts = require "spec.support.step_texts"

local M = {}

local OF_STEP = { "number", "now", "graph", "branches", "num_rows", "num_decodes", "num_tokens",
                  "prefill_tokens", "decode_tokens", "padded_rows", "padded_tokens" }
local BEFORE = { "query_len", "seq_len", "drafts", "last_accepted", "prompt_done", "table_row", "read_column",
                 "samples", "accepted_drafts", "stop", "next_drafts" }
local AFTER = { "accepted_drafts", "stop", "next_drafts", "emitted", "finish" }
local LISTS = { "admitted", "preempted", "rejected", "finished" }
local OF_REQUEST = { "id", "state", "user", "class", "emitted", "prompt_tokens", "computed_tokens",
                     "max_tokens", "known", "cached", "drafts", "preemptions", "arrival", "deadline", "ttft",
                     "tpot", "priority", "weight", "last_emit" }

local function array(note, values, n)
  for k = 0, n - 1 do note(tonumber(values[k])) end
end

local function arrays(note, step, names)
  for _, name in ipairs(names) do array(note, step[name], step.num_rows) end
end

local function lists(note, step)
  for _, name in ipairs(LISTS) do
    note(#step[name])
    for _, id in ipairs(step[name]) do note(id) end
  end
  for _, id in ipairs(step.rejected) do note(step.reasons[id]) end
end

local function state(note, given)
  note(given.tokens)
  for _, name in ipairs { "slots", "generations", "kv_blocks" } do
    for _, value in ipairs(given[name] or {}) do note(value) end
  end
end

local function copies(note, step, groups)
  note(#step.kv_copies)
  for _, copy in ipairs(step.kv_copies) do
    note(copy.from)
    note(copy.to)
  end
  local out, back = step.demoted, step.restored
  note(out.n + 1000 * back.n)
  for k = 0, out.n - 1 do
    note(out.to[k])
    for group = 0, groups - 1 do note(out.from[k * groups + group]) end
  end
  for k = 0, back.n - 1 do
    note(back.from[k])
    note(back.row[k])
    for group = 0, groups - 1 do note(back.to[k * groups + group]) end
  end
end

-- Blocks of attention cache of the rows' texts, and where the step's tokens go.
local function blocks(note, step, engine)
  local columns = engine.max_kv_blocks
  if columns == 0 then return end
  for row = 0, step.num_rows - 1 do
    for k = 0, columns - 1 do note(step.kv_table[step.table_row[row] * columns + k]) end
  end
  array(note, step.kv_slot_mapping, step.padded_tokens)
end

--- A step as it was built.
---@param note function takes a value
function M.step(note, step, engine)
  for _, name in ipairs(OF_STEP) do note(step[name]) end
  note(step.fallback)
  note(tostring(step))
  arrays(note, step, BEFORE)
  for row = 0, step.num_rows - 1 do note(step:id(row)) end
  lists(note, step)
  if step.rows.indexed == 1 then -- where a device finds what was accepted
    array(note, step.rows.seq_index, step.num_rows)
    array(note, step.rows.accepted_index, step.num_rows)
  end
  copies(note, step, engine.builder.num_groups)
  blocks(note, step, engine)
end

--- The same when it is complete.
function M.done(note, step)
  arrays(note, step, AFTER)
  lists(note, step)
  note(#step.kept)
  for _, place in ipairs(step.kept) do state(note, place) end
end

--- What the builder made of it: its numbers and tensors, drawn. It takes longer than the rest.
function M.metadata(note, step)
  note(draw_rows.draw(step.metadata, nil, step.ids))
end

--- A request, if it is live.
function M.request(note, engine, id)
  local request = engine:request(id)
  if not request then return note "gone" end
  for _, name in ipairs(OF_REQUEST) do note(request[name]) end
end

local function nodes(note, cache)
  for _, node in ipairs(cache:nodes(12)) do
    local lines = {}
    texts.flatten("", node, lines)
    note(table.concat(lines, ";"))
  end
end

--- What a host may ask of the engine between steps.
function M.engine(note, engine)
  note(draw.draw(engine))
  note(texts.numbers(engine.stats))
  note(texts.numbers(engine:slots()))
  note(texts.numbers(engine:kv() or {}))
  note(engine.policy_name)
  note(engine.policy_enabled)
  if not engine.cache then return end
  note(tostring(engine.cache))
  note(texts.numbers(engine.cache:stats()))
  note(texts.numbers(engine:cached()))
  nodes(note, engine.cache)
end

--- Failures of policy and cache: where, and in which words.
function M.failures(note, engine)
  local records, never = engine:failures()
  for _, record in ipairs(records) do
    note(record.step)
    note(record.policy)
    note(record.hook)
    note(record.message)
    note(record.request)
  end
  note(texts.numbers(never))
end

M.state = state

return M
