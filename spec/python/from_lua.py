"""A Lua host inside Python hands numpy's memory to build_raw, in place."""

import lupa.luajit21 as lupa
import numpy as np

lua = lupa.LuaRuntime()
lua.execute('package.path, package.cpath = "lua/?.lua;lua/?/init.lua", "build/?.so;" .. package.cpath')
build = lua.eval("""function(loc, lens, table_, rows, cols, stride)
      local ffi, gdn = require "ffi", require "gdnmeta"
      local function memory(address, n) return { ffi.cast("int32_t *", address), n } end
      local builder = assert(gdn.builder { device = "cpu", rules = "vllm-2026-08", max_num_seqs = 4 })
      local meta = assert(builder:build_raw {
        query_start_loc = memory(loc, rows + 1), seq_lens = memory(lens, rows),
        block_table = memory(table_, rows * stride), block_table_cols = cols, block_table_stride = stride })
      local slots = meta.non_spec_state_indices_tensor
      return slots[0], slots[1]
    end""")
loc, lens = np.array([0, 1, 2], np.int32), np.array([9, 8], np.int32)
table = np.array([[5, 1, 1, 1], [6, 1, 1, 1]], np.int32)
print(*build(loc.ctypes.data, lens.ctypes.data, table.ctypes.data, 2, 1, 4))
