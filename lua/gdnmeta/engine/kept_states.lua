-- States that prompts leave before the end of a chunk, in places that receive() gave: the row's
-- checkpoint_len and checkpoint_slot tell the kernels. A request keeps one such place, as { source, shown },
-- until a step is written whose chunk passes it. Then the step has it, and gives it back if its build is
-- refused.
local sources = require "gdnmeta.engine.sources"

local ceil = math.ceil
local CHUNK = 64 -- tokens
local WAITING = require("gdnmeta.engine.requests").WAITING

jit.off(true, true) -- no step path

local M = {}

--- Request i is to fill the place that the host was shown.
---@param e table engine
---@param i integer
---@param shown table what receive() gave
function M.await(e, i, shown)
  local source = e.checkpoints[shown]
  source.is_empty, source.is_awaited = false, true
  sources.hold(e.states, source)
  e.requests.keep[i], e.num_keeps = { source, shown }, e.num_keeps + 1
end

--- Request i fills no place any more: another may.
function M.let_go(e, i)
  local keep = e.requests.keep[i]
  keep[1].is_empty, e.requests.keep[i], e.num_keeps = true, nil, e.num_keeps - 1
  sources.drop(e.states, keep[1])
end

-- Does a chunk of n tokens after `computed` pass the place, where the builder can say so?
local function passes(e, computed, n, tokens)
  local offset = tokens - computed
  return offset > 0 and offset < n and (offset % CHUNK == 0 or e.config.checkpoint_any ~= 0)
end

--- Say in the step's batch which of its rows leave states. A request that is past its place lets go of it.
function M.write(e, step)
  local r, rows, kept = e.requests, step.rows, step.keeping
  for row = step.num_decodes, step.num_rows - 1 do
    local i = step.request[row]
    local keep, n = r.keep[i], step.query_len[row]
    if keep and passes(e, step.seq_len[row] - n, n, keep[1].tokens) then
      rows.checkpoint_len[row] = keep[1].tokens
      for group = 0, rows.num_groups - 1 do
        rows.checkpoint_slot[group * rows.max_rows + row] = keep[1].slots[group + 1]
      end
      kept[#kept + 1] = { i = i, row = row, keep = keep }
      step.kept[#step.kept + 1] = keep[2]
      r.keep[i], e.num_keeps = nil, e.num_keeps - 1
    elseif keep and step.seq_len[row] >= keep[1].tokens then
      M.let_go(e, i)
    end
  end
end

--- The rows of a step say nothing of states any more.
function M.clear(step)
  for n, entry in ipairs(step.keeping) do step.rows.checkpoint_len[entry.row], step.keeping[n] = 0, nil end
end

--- The build was refused: the requests keep their places.
function M.undo(e, step)
  for _, entry in ipairs(step.keeping) do
    e.requests.keep[entry.i], e.num_keeps = entry.keep, e.num_keeps + 1
    step.kept[#step.kept] = nil
  end
  M.clear(step)
end

--- The step will never be complete: requests that are there still are to fill their places another time.
function M.abandon(e, step)
  for _, entry in ipairs(step.keeping) do
    local is_live = e.requests.id[entry.i] ~= nil and e.requests.keep[entry.i] == nil
      and e.requests.state[entry.i] == WAITING
    if is_live then
      e.requests.keep[entry.i], e.num_keeps = entry.keep, e.num_keeps + 1
    else
      entry.keep[1].is_empty, entry.keep[1].is_awaited = true, false
      sources.drop(e.states, entry.keep[1])
    end
  end
  M.clear(step)
end

-- The attention cache of those tokens is the request's own.
local function share_blocks(e, step, entry)
  local source = entry.keep[1]
  local blocks = e.states.kv:list(step.table_row[entry.row], ceil(source.tokens / e.states.kv_block))
  sources.exchange_blocks(e.states, source, blocks)
  sources.show_blocks(entry.keep[2], blocks)
end

--- The step has run, and nothing of it is given back yet: the states are there.
function M.complete(e, step)
  for _, entry in ipairs(step.keeping) do
    local source = entry.keep[1]
    source.is_awaited = false
    if source.kv then share_blocks(e, step, entry) end
    sources.drop(e.states, source)
  end
  M.clear(step)
end

return M
