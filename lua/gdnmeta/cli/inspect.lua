-- gdnmeta inspect: a recording, one line per step, or one step in full.
local drawing = require "gdnmeta.metadata.draw"
local fail = require("gdnmeta.cli.values").fail
local fields = require("gdnmeta.native.schema").fields
local numbers = require "gdnmeta.sim.numbers"
local colors = require "gdnmeta.metadata.colors"
local validate = require "gdnmeta.record.validate"
local recording_file = require "gdnmeta.cli.recording_file"
local inspect_request = require "gdnmeta.cli.inspect_request"
local request_events = require "gdnmeta.record.request_events"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local terminal = require "gdnmeta.cli.terminal"
local values = require "gdnmeta.cli.values"
local foreign_text = require "gdnmeta.native.foreign_text"

local BAR = 32 -- characters

local M = {
  summary = "Draw the steps of a recording.",
  epilog = [[
examples:
  gdnmeta inspect steps.jsonl                one line per step
  gdnmeta inspect steps.jsonl --step 12      its rows, tokens, state slots and tensors
  gdnmeta inspect steps.jsonl --request 17   arrival, waiting, steps and end of this request]],
}

function M.describe(parser)
  recording_file.describe(parser)
  parser:option("--step", "Draw this step in full (one line per step)."):argname "N"
  parser:option("--request", "Show what happened to this request (none)."):argname "ID"
end

local function head(header)
  local b, e = header.builder, header.engine
  local c = numbers.count
  local lines = {
    ("recorded by gdnmeta %s on %s under %s, policy %s"):format(header.library, b.device, b.rules, e.policy),
    ("builder   %s sequences, %s tokens and %s rows per step, %d cache group%s, mode %s"):format(
      c(b.max_num_seqs), c(b.max_num_batched_tokens), c(b.max_rows), b.num_groups,
      b.num_groups == 1 and "" or "s", b.mamba_cache_mode),
    ("engine    %s sequences, %s tokens per step, sequences of up to %s tokens"):format(c(e.max_num_seqs),
      c(e.max_num_batched_tokens), c(e.max_model_len)),
  }
  if b.num_speculative_tokens > 0 then
    lines[2] = ("%s, %d speculative token%s"):format(lines[2], b.num_speculative_tokens,
      b.num_speculative_tokens == 1 and "" or "s")
  end
  if e.kv_tokens then lines[3] = ("%s, attention cache for %s"):format(lines[3], c(e.kv_tokens)) end
  return table.concat(lines, "\n")
end

local function counts(step)
  local by_name = {}
  for i, name in ipairs(fields.counts) do by_name[name] = step.counts[i] end
  return by_name
end

-- Rows of a step that began with tokens of the state cache, and those tokens.
local function hits_of(step)
  local rows, tokens = 0, 0
  for _, n in ipairs(step.cached or {}) do
    if n > 0 then rows, tokens = rows + 1, tokens + n end
  end
  return rows, tokens
end

-- Those of its rows whose states came from the host.
local function restored(step)
  local rows = 0
  for _, n in ipairs(step.restored or {}) do rows = rows + n end
  return rows
end

local function plural(n, what) return ("%s %s%s"):format(numbers.count(n), what, n == 1 and "" or "s") end

local function list(reader, paint)
  print(head(reader.header))
  local hits, cached, computed, from_host = 0, 0, 0, 0
  print(paint("head", "    step           s   rows  padded   tokens  padded  graph"))
  local message = recording_file.each(reader, function(step)
    local tokens = 0
    for _, n in ipairs(step.query_len) do tokens = tokens + n end
    local rows, found = hits_of(step)
    local back = restored(step)
    hits, cached, computed, from_host = hits + rows, cached + found, computed + tokens, from_host + back
    print(("%8.0f %11.3f %6d %7d %8d %7d  %-9s %s%s"):format(step.step, step.now, #step.query_len,
      step.padded_rows, tokens, step.padded_tokens, step.graph, drawing.bar(counts(step), BAR, paint),
      (rows > 0 and ("  + %s cached in %s"):format(numbers.count(found), plural(rows, "row")) or "")
      .. (back > 0 and (", %d of the host"):format(back) or "")))
  end)
  if hits > 0 then
    print(("%s began with %s of the state cache, beside %s computed in all steps"):format(plural(hits, "row"),
      plural(cached, "token"), numbers.count(computed)))
  end
  if from_host > 0 then print(("copied from the host: %s"):format(plural(from_host, "state"))) end
  recording_file.finish(reader, message)
end

local function tensors(meta)
  local lines = {}
  for _, name in ipairs(fields.tensors) do
    if meta[name] then lines[#lines + 1] = ("  %-30s %s"):format(name, tostring(meta[name])) end
  end
  return table.concat(lines, "\n")
end

local function draw(reader, rebuild, step, paint)
  print(("step %.0f of %s, at %.3f s, graph %s"):format(step.step, foreign_text.long(reader.path),
    step.now, step.graph))
  local meta, message = rebuild:build(step)
  print(tostring(rebuild.batch))
  if not meta then return print("refused: " .. message) end
  print((drawing.step(meta, paint):gsub("^[^\n]*\n", "")))
  print((draw_rows.draw(meta, paint)))
  for i, n in ipairs(step.cached or {}) do
    if n > 0 then
      print(("  row %d (%s) begins with %s of the state cache%s"):format(i - 1,
        validate.short(tostring((step.ids or {})[i])), plural(n, "token"),
        (step.restored or {})[i] == 1 and ", copied from the host" or ""))
    end
  end
  print(tensors(meta))
  for group = 1, rebuild.builder.num_groups - 1 do
    print(("group %d:"):format(group))
    print((draw_rows.draw(meta:group(group), paint)))
  end
end

local function tell(reader, id)
  if reader.header.version < 2 then
    fail("%s: recorded as version %d, which has no request ids", reader.path, reader.header.version)
  end
  local story = inspect_request.new(id, print, validate.short)
  reader.on_empty = function(line) story:empty(line) end
  local message = recording_file.each(reader, function(step) story:step(step) end)
  local found = story:close(not message and reader.after or nil)
  if not found and not message then fail("%s has no request %s", reader.path, validate.show(id)) end
  recording_file.finish(reader, message)
end

function M.run(args)
  local paint = terminal.coloured() and colors.colour or colors.plain
  local wanted = values.read("--step", args.step, values.integer(1, 2 ^ 31 - 1))
  local id = values.read("--request", args.request, values.text "an id")
  if id then id = request_events.id(id) end -- long ones are recorded without their end
  if id and wanted then fail "--step and --request exclude each other" end
  local reader = recording_file.open(args)
  if id then return tell(reader, id) end
  if not wanted then return list(reader, paint) end
  local rebuild, found
  local message = recording_file.each(reader, function(step)
    if step.step ~= wanted then return end
    rebuild, found = rebuild or recording_file.rebuild(reader.header, "cpu"), true
    draw(reader, rebuild, step, paint)
  end)
  if not found and not message then fail("%s has no step %s", args.file, args.step) end
  recording_file.finish(reader, message)
end

return M
