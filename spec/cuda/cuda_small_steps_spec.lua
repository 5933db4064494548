-- Every small step on the CPU and on a CUDA device: each single row of a small alphabet of numbers, and each
-- two and three rows of fewer, with inputs on the host and on the device. Both refuse, or give the same
-- bytes. What the device alone can see it builds, and knows a fault where the value is read: how many steps
-- of each kind there are is in spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local agree = require "spec.support.cpu_vs_cuda"
local array_of = require "gdnmeta.array_of"
local drivers = require "spec.support.driver"
local noted = require "spec.support.noted"

local notes = noted.new "cuda-"
local int32s = array_of "int32_t"
local ROWS, WIDTH, FIELDS = 4, 3, { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens",
                                    "prompt_done", "read_column", "table_row" }

-- { query_len, seq_len, drafts, accepted, prompt_done, read_column }, each of a list.
local function product(lists)
  local rows = { {} }
  for _, list in ipairs(lists) do
    local longer = {}
    for _, row in ipairs(rows) do
      for _, value in ipairs(list) do
        local copy = { unpack(row) }
        copy[#copy + 1] = value
        longer[#longer + 1] = copy
      end
    end
    rows = longer
  end
  return rows
end

local SINGLE = product { { 0, 1, 2, 3 }, { 0, 1, 2, 3, 4, 5, 6, 7 }, { -1, 0, 1, 2 }, { 0, 1, 2, 3 },
                         { 0, 1 }, { -2, -1, 0, WIDTH - 1, WIDTH } }
local SOME = { { 1, 1, -1, 1, 0, -1 }, { 1, 3, -1, 1, 1, -2 }, { 1, 4, -1, 2, 1, 1 }, { 2, 2, -1, 1, 0, -1 },
               { 2, 5, 1, 1, 1, 0 }, { 2, 5, 1, 2, 1, 1 }, { 1, 3, 0, 1, 1, -2 }, { 3, 6, -1, 1, 0, 0 },
               { 0, 0, -1, 1, 0, -1 }, { 2, 4, -1, 1, 1, 2 } }

-- Where the host reads no lengths, read_column tells it which rows are fresh.
local function batches(has_lengths)
  local list = {}
  for _, row in ipairs(SINGLE) do
    local is_told = row[2] > row[1] and row[6] ~= -1 or row[2] == row[1] and row[6] == -1
    if has_lengths or is_told then list[#list + 1] = { row } end
  end
  for _, a in ipairs(SOME) do
    for _, b in ipairs(SOME) do
      list[#list + 1] = { a, b }
      for k = 1, 6 do list[#list + 1] = { a, b, SOME[k] } end
    end
  end
  return list
end

local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 2, num_speculative_blocks = 1 }
local WORLDS = {
  {}, { full_cuda_graph = true, max_cudagraph_capture_size = 2 }, { full_cuda_graph = "mixed" },
  { num_speculative_tokens = 0, checkpoint_any = true }, ALIGN,
  { mamba_cache_mode = "align", mamba_block_size = 3, num_speculative_tokens = 0,
    num_speculative_blocks = 0 },
  { rules = "vllm-2026-04", full_cuda_graph = true }, { rules = "vllm-2026-08", pad_slot_id = -1 },
  { rules = "vllm-2026-08", mamba_cache_mode = "align", mamba_block_size = 2, num_speculative_blocks = 1 },
  { rules = "vllm-2026-11", mamba_cache_mode = "all", mamba_block_size = 2, num_speculative_blocks = 1 },
  { rules = "vllm-2026-11", mamba_cache_mode = "align", mamba_block_size = 2, num_speculative_blocks = 1,
    num_prefill_checkpoint_blocks = 1, hash_block_size = 1, cache_hit_alignment_tokens = 1,
    prefill_checkpoint_alignment = 1 },
}
local ON_DEVICE = { { "host" }, { "accepted", accepted = true }, { "tables", tables = true },
                    { "all", tables = true, seq_lens = true, accepted = true } }

describe("Every small step", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  local function open(world, inputs)
    local o = { max_num_seqs = ROWS, max_num_batched_tokens = 12, num_speculative_tokens = 1, num_groups = 2,
                num_slots = 40, max_requests = ROWS, max_blocks_per_row = WIDTH, check = true,
                max_rows = ROWS }
    for name, value in pairs(world) do o[name] = value end
    local pair = { config = o }
    for side, device in pairs { cpu = "cpu", gpu = "cuda" } do
      o.device = device
      pair[side] = assert(gdn.builder(o))
      pair[side .. "_batch"] = assert(pair[side]:batch())
    end
    for g = 0, 1 do
      local cells = int32s(ROWS * WIDTH)
      for i = 0, ROWS * WIDTH - 1 do cells[i] = 1 + (i * 5 + g) % 12 + (i == 7 and 20 or 0) end
      cells[2] = 0 -- where nothing is written, it may stand
      ffi.copy(lib.gdn_builder_table(pair.cpu.handle, g), cells, ROWS * WIDTH * 4)
      if inputs.tables then
        local memory = driver:int32(ROWS * WIDTH)
        driver:write(memory, cells, ROWS * WIDTH)
        assert(pair.gpu:borrow_device_table(g, memory, WIDTH, ROWS))
      else
        ffi.copy(lib.gdn_builder_table(pair.gpu.handle, g), cells, ROWS * WIDTH * 4)
      end
    end
    for _, name in ipairs { "seq_lens", "accepted" } do
      if inputs[name] then
        pair[name] = driver:int32(ROWS)
        assert(pair.gpu["borrow_device_" .. name](pair.gpu, pair[name], ROWS))
      end
    end
    return pair
  end

  -- What stands on the device is not to be read on the host: there, it is nonsense.
  local function write(pair, batch)
    local values = int32s(ROWS)
    for _, side in ipairs { "cpu", "gpu" } do
      local c = pair[side .. "_batch"].rows
      for i, row in ipairs(batch) do
        for f, name in ipairs(FIELDS) do c[name][i - 1] = row[f] or i - 1 end
      end
      c.num_rows = #batch
      for name, field in pairs { seq_lens = "seq_len", accepted = "num_accepted_tokens" } do
        if pair[name] and side == "gpu" then
          for i = 0, #batch - 1 do values[i], c[field][i] = c[field][i], -1000 - i end
          driver:write(pair[name], values, ROWS)
        end
      end
    end
  end

  -- Why the two differ, or in a word what became of the step.
  local function try(self, batch, stream)
    local pair = self.pair
    write(pair, batch)
    local want = tonumber(lib.gdn_build(pair.cpu.handle, pair.cpu_batch.rows, nil))
    local got = tonumber(lib.gdn_build(pair.gpu.handle, pair.gpu_batch.rows, stream))
    if want == -1 and got == 0 then
      local is_fault = tonumber(lib.gdn_device_error(pair.gpu.handle, 1)) ~= 0
      local words = is_fault and ffi.string(lib.gdn_last_error(pair.gpu.handle)) or "nothing of it is read"
      pair.gpu:take_check_result() -- which says the same of the outputs
      return nil, (words:gsub("^rows.*build ", ""))
    elseif want ~= got then
      return ("status %d on the CPU, %d on the device: %s"):format(want, got,
        ffi.string(lib.gdn_last_error((want ~= 0 and pair.cpu or pair.gpu).handle)))
    elseif want ~= 0 then
      return nil, "refused"
    end
    local _, wrong = pair.cpu:peek_check_result()
    if not wrong then _, wrong = pair.gpu:peek_check_result() end
    return agree.metadata_differ(self) or wrong, "built"
  end

  for n, world in ipairs(WORLDS) do
    it(("is the same on a device, world %d"):format(n), function()
      notes.clear()
      local stream = driver:stream()
      for _, inputs in ipairs(world.prefill_checkpoint_alignment and { ON_DEVICE[1] } or ON_DEVICE) do
        local pair, counts, order = open(world, inputs), {}, {}
        local self = { pair = pair, bytes = 0, anchors = {} }
        for _, batch in ipairs(batches(not inputs.seq_lens)) do
          local reason, became = try(self, batch, stream)
          if reason then
            local rows = {}
            for k, row in ipairs(batch) do rows[k] = "{ " .. table.concat(row, ", ") .. " }" end
            error(("%s, %s on the device: %s"):format(table.concat(rows, ", "), inputs[1], reason), 0)
          end
          if not counts[became] then order[#order + 1] = became end
          counts[became] = (counts[became] or 0) + 1
        end
        table.sort(order)
        for _, became in ipairs(order) do notes.note(inputs[1], counts[became], became) end
        for _, side in ipairs { "cpu", "gpu" } do
          pair[side .. "_batch"]:close()
          pair[side]:close()
        end
      end
      notes.check("small-steps-" .. n)
    end)
  end
end)
