-- A ring whose payloads are copied to the device first, as a benchmark measures it: the same outputs, and
-- nothing is left.
local shell = require "spec.support.shell"

describe("A ring", function()
  it("may be copied to the device first, and carries the same", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write [[
      local ffi, gdn = require "ffi", require "gdnmeta"
      local drivers, lib = require "spec.support.driver", require "gdnmeta.native"
      ffi.cdef "int32_t gdn_counted_copy_ring(gdn_builder *b);"
      local driver = drivers.open "fake"
      local live = driver:count "live"
      local function open(device)
        local builder = assert(gdn.builder { device = device, max_num_seqs = 512, num_speculative_tokens = 3,
          num_groups = 6, num_slots = 2^22, max_num_batched_tokens = 4096 })
        local batch = assert(builder:batch())
        for g = 0, 5 do
          for i = 0, 512 * 4 - 1 do builder:table(g)[i] = 1 + i * 1000 + g end
        end
        for row = 0, 511 do assert(batch:push(row, 4, 40, true, 3, 1 + row % 4)) end
        return builder, batch
      end
      local cpu, same = open "cpu"
      local builder, batch = open "cuda"
      driver.lib.fake_fail(2, 719)
      local status, why = lib.gdn_counted_copy_ring(builder.handle), lib.gdn_last_error(builder.handle)
      print(status, (ffi.string(why):gsub("of %d+ bytes", "of N bytes")))
      driver.lib.fake_reset()
      print(lib.gdn_counted_copy_ring(builder.handle))
      for n = 1, 4 do
        for row = 0, 511 do
          batch.rows.num_accepted_tokens[row], same.rows.num_accepted_tokens[row] = 1 + n % 4, 1 + n % 4
        end
        driver.lib.fake_reset()
        local meta, want = assert(builder:build(batch)), assert(cpu:build(same))
        for g = 0, 5 do
          local a, b = meta:group(g).spec_state_indices_tensor, want:group(g).spec_state_indices_tensor
          for i = 0, 512 * 4 - 1, 100 do assert(a[i] == b[i]) end
        end
        print(builder:counters().ring_launches, driver:count "copies" > 0)
      end
      for n = 1, 9 do
        batch.rows.num_accepted_tokens[n] = 1 + batch.rows.num_accepted_tokens[n] % 4
        driver.lib.fake_fail(n, 719)
        local meta, message = builder:build(batch)
        local call = ffi.string(driver.lib.fake_failed_call())
        driver.lib.fake_reset()
        if call:find "Memcpy" then print(meta, (message:gsub("of %d+ bytes", "of N bytes"))) end
      end
      batch:close()
      builder:close()
      print(driver:count "live" - live)]]
    file:close()
    local status, text = shell.run(("env -u LD_PRELOAD GDNMETA_LIB=%s luajit %s 2>&1"):format(
      require("spec.support.counted_library").path, path))
    os.remove(path)
    assert.are.equal(0, status, text)
    local WORDS = " of N bytes: CUDA_ERROR_LAUNCH_FAILED (unspecified launch failure)\n"
    assert.are.equal("-5\tcuMemAlloc" .. WORDS .. "0\n1\ttrue\n2\ttrue\n3\ttrue\n4\ttrue\n"
      .. "nil\tcuMemcpyHtoDAsync" .. WORDS .. "0\n", text)
  end)
end)
