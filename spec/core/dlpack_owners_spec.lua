-- Tensors for other libraries: who deletes them when, and what gives their memory back.
local ffi = require "ffi"
local drivers = require "spec.support.driver"
local exported = require "spec.support.exports"

local open, collect = exported.open, exported.collect

describe("The memory of a CUDA builder", function()
  local driver
  before_each(function()
    driver = drivers.open("fake", false)
    collect() -- what other specs left
  end)
  after_each(function() driver:close() end)

  local function contents(export)
    local host, t = ffi.new "int32_t[8]", export.dl_tensor
    driver:call("cuCtxSetCurrent", driver.context)
    driver:call("cuMemcpyDtoHAsync_v2", host, ffi.cast("uint64_t", t.data), 8, nil)
    driver:call("cuStreamSynchronize", nil)
    driver:call("cuCtxSetCurrent", nil)
    return { host[0], host[1] }
  end

  it("is given back by the last of builder and exports, context included", function()
    for last = 1, 3 do
      local live = driver:count "live"
      local builder, batch = open("cuda", true)
      local view = builder.metadata.spec_state_indices_tensor
      local exports = { ffi.gc(view:dlpack(), nil), ffi.gc(view:dlpack(), nil) }
      batch:close()
      driver:call("cuDevicePrimaryCtxRelease_v2", 0) -- ours: from here on the context is the builder's alone
      local drops = {
        function() exports[1].deleter(exports[1]) end,
        function() exports[2].deleter(exports[2]) end,
        function() builder:close() end,
      }
      for i = 1, 3 do
        if i ~= last then drops[i]() end
      end
      assert.is_true(driver:count "live" > live, "given back too early")
      local context = ffi.new "void *[1]"
      driver:call("cuDevicePrimaryCtxRetain", context, 0)
      if last < 3 then assert.are.same({ 1, 2 }, contents(exports[last])) end
      drops[last]()
      assert.are.equal(live, driver:count "live")
      assert.are.equal(0, driver:count "overruns")
    end
  end)

  it("is given back by the collector, unless the tensor was handed on", function()
    local live = driver:count "live"
    local builder, batch = open("cuda", true)
    local handed = ffi.gc(builder.metadata.chunk_offsets:dlpack(), nil)
    assert(builder.metadata.chunk_indices:dlpack())
    batch:close()
    builder:close()
    collect()
    assert.is_true(driver:count "live" > live)
    handed.deleter(handed)
    assert.are.equal(live, driver:count "live")
  end)

  it("is given back where the context is current, and where none is", function()
    for _, current in ipairs { true, false } do
      local live = driver:count "live"
      if current then driver:call("cuCtxSetCurrent", driver.context) end
      local builder, batch = open("cuda", true)
      local export = ffi.gc(builder.metadata.chunk_indices:dlpack(), nil)
      batch:close()
      builder:close()
      driver:call("cuCtxSetCurrent", nil) -- as on another thread
      export.deleter(export)
      local now = ffi.new "void *[1]"
      driver:call("cuCtxGetCurrent", now)
      assert.is_true(now[0] == nil)
      assert.are.equal(live, driver:count "live")
    end
  end)
end)

-- Output and exit status, less what watches this process.
local function run(command)
  local pipe = assert(io.popen(("env -u LD_PRELOAD %s 2>&1; echo rc $?"):format(command)))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("A deleter", function()
  it("may be called by any thread, while the builder is freed #system", function()
    local program = os.tmpname()
    local compile = "cc -std=c11 -O1 -g -fsanitize=thread -pthread -Isrc spec/support/exports.c src/*/*.c -o "
    assert.are.equal("rc 0\n", run(compile .. program))
    assert.are.equal("12800 38400\nrc 0\n", run(program))
    os.remove(program)
  end)

  -- A host may end its VM, and with it the last user of the library, before its consumers are done.
  it("may be called when the library is closed", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write [=[
      local ffi = require "ffi"
      require "gdnmeta.native.cdef"
      local function export()
        local lib = ffi.load "build/libgdnmeta.so"
        local config, b, rows = ffi.new "gdn_config", ffi.new "gdn_builder *[1]", ffi.new "gdn_batch *[1]"
        lib.gdn_config_init(config)
        assert(lib.gdn_builder_new(config, b, nil, 0) == 0 and lib.gdn_batch_new(b[0], rows) == 0)
        local batch, out = rows[0], ffi.new "gdn_dlpack *[1]"
        batch.num_rows, batch.query_len[0], batch.seq_len[0], batch.read_column[0] = 1, 3, 3, -1
        batch.num_draft_tokens[0], batch.num_accepted_tokens[0], batch.blocks[0] = -1, 1, 3
        batch.table_row[0] = -1
        assert(lib.gdn_build(b[0], batch, nil) == 0)
        local meta = lib.gdn_builder_metadata(b[0])
        assert(lib.gdn_tensor_export(b[0], meta.non_spec_state_indices_tensor, out) == 0)
        lib.gdn_batch_free(batch)
        lib.gdn_builder_free(b[0])
        return out[0]
      end
      local kept = export()
      collectgarbage() collectgarbage()
      print(ffi.cast("int32_t *", kept.dl_tensor.data)[0])
      kept.deleter(kept)
    ]=]
    file:close()
    local output = run("LUA_PATH='./lua/?.lua;;' luajit " .. path)
    os.remove(path)
    assert.are.equal("3\nrc 0\n", output)
  end)
end)
