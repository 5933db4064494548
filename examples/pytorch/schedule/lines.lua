-- Steps as lines of text, for a process that reads them from a pipe and writes what their rows emitted.
local Lines = {}
Lines.__index = Lines

local function numbers(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = tonumber(word) end
  return list
end

-- The slots that each row writes and the one that it reads, from what the builder made.
local function slots_of(step, group, S)
  local meta, columns, spec, plain = step.metadata:group(group), S + 1, 0, 0
  local written, read = {}, {}
  for row = 0, step.num_rows - 1 do
    if step.drafts[row] >= 0 then
      local all = meta.spec_state_indices_tensor
      for c = 0, columns - 1 do written[#written + 1] = all[spec * columns + c] end
      read[row + 1], spec = meta.spec_read_state_indices[spec], spec + 1
    else
      written[#written + 1] = meta.non_spec_state_indices_tensor[plain]
      for _ = 2, columns do written[#written + 1] = 0 end
      read[row + 1], plain = meta.non_spec_read_state_indices[plain], plain + 1
    end
  end
  return written, read
end

-- Changes of the kv table that the other side does not have yet.
local function table_changes(self, step)
  local changes, sent, width = {}, self.sent, self.engine.max_kv_blocks
  for row = 0, step.num_rows - 1 do
    local at = step.table_row[row]
    for column = 0, math.ceil(step.seq_len[row] / self.options.kv_block_size) - 1 do
      local place = at * width + column
      local block = step.kv_table[place]
      if sent[place] ~= block then
        sent[place] = block
        for _, number in ipairs { at, column, block } do changes[#changes + 1] = number end
      end
    end
  end
  return changes
end

local FIELDS = { query_len = "query_len", seq_len = "seq_len", drafts = "drafts", samples = "samples",
                 table_row = "table_row", prompt_done = "prompt_done", accepted_tokens = "last_accepted" }

local function line_of(self, step, of_row)
  local line, n = {}, step.num_rows
  local function put(name, list) line[#line + 1] = name .. " " .. table.concat(list, " ") end
  for name, field in pairs(FIELDS) do
    local list = {}
    for row = 0, n - 1 do list[row + 1] = step[field][row] end
    put(name, list)
  end
  for _, name in ipairs { "number", "temperature", "top_p", "seed" } do
    local list = {}
    for row = 0, n - 1 do list[row + 1] = of_row[row][name] end
    put(name == "number" and "request" or name, list)
  end
  local tokens, slots, reads, copies = {}, {}, {}, {}
  for row = 0, n - 1 do
    local r = of_row[row]
    for k = step.seq_len[row] - step.query_len[row] + 1, step.seq_len[row] do
      tokens[#tokens + 1] = r.tokens[k] or r.drafts[k - #r.tokens] or 2
    end
  end
  for group = 0, self.options.groups - 1 do
    local written, read = slots_of(step, group, self.options.S)
    for _, slot in ipairs(written) do slots[#slots + 1] = slot end
    for _, slot in ipairs(read) do reads[#reads + 1] = slot end
  end
  for _, copy in ipairs(step.kv_copies) do
    copies[#copies + 1], copies[#copies + 2] = copy.from, copy.to
  end
  put("tokens", tokens)
  put("slots", slots)
  put("read_slots", reads)
  put("kv_copies", copies)
  put("table_changes", table_changes(self, step))
  local full = self.options.buckets > 0 and step.graph == "full"
  put("padded", { step.padded_rows, step.padded_tokens, full and 2 or 0 })
  return table.concat(line, ";")
end

--- Run a step.
---@param step table gdnmeta.Step
---@param of_row table requests by row: { number, tokens, drafts, temperature, top_p, seed }
---@return table said lists of tokens by row
function Lines:run(step, of_row)
  io.stdout:write("step ", line_of(self, step, of_row), "\n")
  io.stdout:flush()
  local counts, tokens = assert(io.read "*l", "the other side has gone"):match "^([^;]*);(.*)$"
  counts, tokens = numbers(counts), numbers(tokens)
  local said, at = {}, 0
  for row = 0, step.num_rows - 1 do
    said[row], at = { unpack(tokens, at + 1, at + counts[row + 1]) }, at + counts[row + 1]
  end
  return said
end

--- Nothing is left to say.
function Lines:close() end -- luacheck: ignore 212

local M = {}

---@param engine table gdnmeta.Engine
---@param options table of schedule.lua
---@return table lines
function M.new(engine, options)
  return setmetatable({ engine = engine, options = options, sent = {} }, Lines)
end

return M
