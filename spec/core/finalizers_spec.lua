-- When a VM ends, cdata is finalized before userdata: a __gc of the host's still sees its builders.
local program = [=[
local ffi, gdn, c_buffers = require "ffi", require "gdnmeta", require "gdnmeta.native.c_buffers"
local order, what, ending = unpack(arg)
local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4 })
local batch, memory = builder:batch(), c_buffers.new()
memory:int32("a", 4)
builder:set_blocks(0, 0, { 3 })
batch:push(0, 1, 10, true)
local inputs = { query_start_loc = { 0, 1 }, seq_lens = { 9 }, block_table = { { 2 } } }
assert(builder:build_raw(inputs))
local meta = assert(builder:build(batch))
local group, view = meta:group(0), meta.non_spec_state_indices_tensor
assert(group.step == 2 and view[0] == 3)

local function refused(where, call, ...)
  local ok, why = pcall(call, ...)
  assert(not ok and why:find(where .. ": .*closed"), why)
end
local acts = {
  close = { builder = function() builder:close() builder:close() end,
            batch = function() batch:close() batch:close() end,
            c_buffers = function() memory:close() end },
  use = {
    builder = function()
      refused("Builder", builder.build, builder, batch)
      refused("Builder", builder.build_raw, builder, inputs)
      refused("Builder", builder.table, builder, 0)
      refused("Builder", builder.batch, builder)
    end,
    batch = function()
      refused("Batch", batch.push, batch, 0, 1, 10, true)
      refused("Batch", batch.clear, batch)
      refused("Batch", function() return batch.rows end)
    end,
    views = function()
      refused("Tensor", function() return view[0] end)
      refused("Tensor", function() return view.data end)
      refused("Metadata", function() return meta.step end)
      refused("Metadata", function() return group.non_spec_state_indices_tensor end)
      assert(tostring(view):find "closed" and tostring(meta):find "closed" and tostring(batch):find "closed")
    end,
  },
}
local function last()
  local chosen, failed = acts[what], false
  for name in order:gmatch "[%a_]+" do
    local ok, why = pcall(chosen[name])
    if not ok then failed = true print(why) end
  end
  print(failed and "failed" or "fine")
end
if ending == "cdata" then
  KEPT = ffi.gc(ffi.new "int[1]", function() pcall(last) print "fine" end)
else
  KEPT = newproxy(true)
  getmetatable(KEPT).__gc = last
end
if ending == "exit" then os.exit(0, true) end
]=]

local function run(...)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(program)
  file:close()
  local command = ("luajit %s '%s' 2>&1; echo rc $?"):format(path, table.concat({ ... }, "' '"))
  local pipe = assert(io.popen(command))
  local out = pipe:read "*a"
  pipe:close()
  os.remove(path)
  return out
end

describe("a __gc at the end of the VM", function()
  it("closes what is closed, in either order", function()
    for _, ending in ipairs { "return", "exit" } do
      for _, order in ipairs { "builder batch c_buffers", "batch c_buffers builder" } do
        assert.are.equal("fine\nrc 0\n", run(order, "close", ending))
      end
    end
  end)

  it("is refused what needs a builder or a batch", function()
    for _, ending in ipairs { "return", "exit" } do
      assert.are.equal("fine\nrc 0\n", run("views builder batch", "use", ending))
    end
  end)

  -- Among cdata the order is any: what this one closes may or may not have been finalized.
  it("of cdata closes what other finalizers free", function()
    assert.matches("fine\nrc 0\n$", run("batch builder c_buffers", "close", "cdata"))
  end)
end)
