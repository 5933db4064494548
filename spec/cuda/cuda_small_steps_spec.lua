-- Every small step on the CPU and on a CUDA device, with inputs on the host and on the device. Both refuse,
-- or give the same bytes. What the device alone can see it builds, and knows a fault where the value is read:
-- how many steps of each kind there are is in spec/goldens/texts. With all on the host nothing is checked, so
-- that a step that is known is skipped: steps that differ in a number, or in a cell of a table, are not.
local ffi = require "ffi"
local agree = require "spec.support.cpu_vs_cuda"
local array_of = require "gdnmeta.array_of"
local drivers = require "spec.support.driver"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local steps = require "spec.support.small_steps"

local notes = noted.new "cuda-"
local int32s = array_of "int32_t"
local ON_DEVICE = { { "host" }, { "accepted", accepted = true, each = 3 },
                    { "tables", tables = true, each = 3 },
                    { "all", tables = true, seq_lens = true, accepted = true } }

describe("Every small step", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  local function open(world, inputs)
    local pair, options = {}, { check = inputs[1] ~= "host" }
    pair.cpu, pair.cpu_batch, pair.config = steps.open(world, "cpu", options)
    pair.gpu, pair.gpu_batch = steps.open(world, "cuda", options)
    for g = 0, inputs.tables and steps.GROUPS - 1 or -1 do
      local memory = driver:int32(steps.CELLS)
      driver:write(memory, steps.cells_of(g), steps.CELLS)
      assert(pair.gpu:borrow_device_table(g, memory, pair.gpu.max_blocks_per_row, steps.ROWS))
    end
    for _, name in ipairs { "seq_lens", "accepted" } do
      if inputs[name] then
        pair[name] = driver:int32(steps.ROWS)
        assert(pair.gpu["borrow_device_" .. name](pair.gpu, pair[name], steps.ROWS))
      end
    end
    return pair
  end

  local function close(pair)
    for _, side in ipairs { "cpu", "gpu" } do
      pair[side .. "_batch"]:close()
      pair[side]:close()
    end
  end

  -- What stands on the device is not to be read on the host: there, it is nonsense.
  local function write(pair, batch)
    local values = int32s(steps.ROWS)
    steps.write(pair.cpu_batch.rows, batch)
    steps.write(pair.gpu_batch.rows, batch)
    for name, field in pairs { seq_lens = "seq_len", accepted = "num_accepted_tokens" } do
      if pair[name] then
        local given = pair.gpu_batch.rows[field]
        for i = 0, #batch - 1 do values[i], given[i] = given[i], -1000 - i end
        driver:write(pair[name], values, steps.ROWS)
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

  local function must_agree(self, batch, stream, where)
    local reason, became = try(self, batch, stream)
    if not reason then return became end
    local rows = {}
    for k, row in ipairs(batch) do rows[k] = "{ " .. table.concat(row, ", ") .. " }" end
    error(("%s, %s: %s"):format(table.concat(rows, ", "), where, reason), 0)
  end

  for n, world in ipairs(steps.WORLDS) do
    it(("is the same on a device, world %d"):format(n), function()
      notes.clear()
      local stream = driver:stream()
      for _, inputs in ipairs(world.prefill_checkpoint_alignment and { ON_DEVICE[1] } or ON_DEVICE) do
        local pair, counts, order = open(world, inputs), {}, {}
        local self = { pair = pair, bytes = 0, anchors = {} }
        for _, batch in ipairs(steps.batches(not inputs.seq_lens, inputs.each)) do
          local became = must_agree(self, batch, stream, inputs[1] .. " on the device")
          if not counts[became] then order[#order + 1] = became end
          counts[became] = (counts[became] or 0) + 1
        end
        table.sort(order)
        for _, became in ipairs(order) do notes.note(inputs[1], counts[became], became) end
        close(pair)
      end
      notes.check("small-steps-" .. n)
    end)

    it(("is another one where a cell of a table is, world %d"):format(n), function()
      local pair, stream = open(world, ON_DEVICE[1]), driver:stream()
      local self = { pair = pair, bytes = 0, anchors = {} }
      for _, a in ipairs(steps.SOME) do
        for _, b in ipairs { false, unpack(steps.SOME) } do
          local batch = { a, b or nil }
          for cell = 0, #batch * pair.gpu.max_blocks_per_row - 1 do
            must_agree(self, batch, stream, "before")
            must_agree(self, batch, stream, "again")
            for g = 0, steps.GROUPS - 1 do
              for _, side in ipairs { "cpu", "gpu" } do
                local cells = lib.gdn_builder_table(pair[side].handle, g)
                cells[cell] = cells[cell] + 13
              end
              must_agree(self, batch, stream, "cell " .. cell)
              for _, side in ipairs { "cpu", "gpu" } do
                local cells = lib.gdn_builder_table(pair[side].handle, g)
                cells[cell] = cells[cell] - 13
              end
            end
          end
        end
      end
      close(pair)
    end)
  end
end)
