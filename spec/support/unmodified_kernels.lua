-- Kernels that read where they write, for layer_kernel: the reference layer on metadata without read indices
-- and conv shifts, after builder:bring_* or without. It then reads column 0 of plain rows, and of speculative
-- ones the column of the last token accepted, as upstream's kernels do.
local HIDDEN = { spec_read_state_indices = true, non_spec_read_state_indices = true,
                 prefill_read_state_indices = true, spec_conv_shift = true, non_spec_conv_shift = true }
local ONES = setmetatable({}, { __index = function() return 1 end })

local M = {}

-- counted: do kernels of speculative rows apply accepted counts?
local function shown(group, counted)
  return setmetatable({}, { __index = function(_, name)
    if HIDDEN[name] then return nil end
    if name == "num_accepted_tokens" and not counted then return ONES end
    return group[name]
  end })
end

-- Of a speculative row's windows the first alone is written, as by upstream's kernels.
local function keep_first_windows(pool)
  local write = pool.write_window
  function pool:write_window(l, slot, x, at, first, from, count)
    if from == 1 and at == self.last_at and first == self.last_first then return end
    self.last_at, self.last_first = at, first
    return write(self, l, slot, x, at, first, from, count)
  end
end

local function bring(builder, g, layer, o)
  local pool, channels = layer.pool, layer.channels
  if o.states then
    assert(builder:bring_states { group = g, pool = pool.states, slot_bytes = 8 * layer.state_size,
                                  spec_rows = o.spec_rows })
  end
  if o.windows then
    assert(builder:bring_windows { group = g, pool = pool.windows, channels = channels,
      length = layer.width - 1 + layer.num_spec, strides = { pool.window_size, 1, channels },
      element_bytes = 8, spec_rows = o.spec_rows, windows_in = o.windows_in })
  end
end

--- Options for layer_play.run. o: states, windows (are they brought?), spec_rows and windows_in (as bring_*
--- take them), only_first (windows are left in a row's first slot alone).
function M.options(o)
  local known = {}
  return { windows_in_first = o.only_first, metadata = function(step, _, kernel)
    return { num_actual_tokens = step.metadata.num_actual_tokens, group = function(_, g)
      local layer = kernel.layers[g]
      if o.only_first and not known[layer] then keep_first_windows(layer.pool) end
      known[layer] = true
      layer.pool.last_at = nil
      bring(step.builder, g, layer, o)
      return shown(step.metadata:group(g), o.spec_rows ~= "first")
    end }
  end }
end

return M
