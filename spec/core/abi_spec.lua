-- The bindings' picture of the ABI against the C compiler's.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local blocks = require "spec.support.blocks"
local members = require "spec.support.struct_members"

local HEADER = "src/gdnmeta_prefix_index.h" -- which includes gdnmeta_scheduler.h, which includes gdnmeta.h

-- What LuaJIT was given: the header without comments and preprocessor lines.
local function declarations()
  local pipe = assert(io.popen("env -u LD_PRELOAD cc -E -P -DGDNMETA_CDEF -x c " .. HEADER))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function structs(text)
  local found = {}
  for body, name in text:gmatch "typedef struct [%w_]+%s*(%b{})%s*([%w_]+)%s*;" do
    found[name] = members(body:sub(2, -2))
  end
  return found
end

-- Compile assertions against the header. Returns the compiler's complaints.
local function complaints(assertions)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write("#include <stddef.h>\n#include \"", HEADER, "\"\n", table.concat(assertions, "\n"), "\n")
  file:close()
  local command = "env -u LD_PRELOAD cc -std=c11 -I. -Isrc -fsyntax-only -x c %s 2>&1"
  local pipe = assert(io.popen(command:format(path)))
  local output = pipe:read "*a"
  pipe:close()
  os.remove(path)
  return output
end

describe("the ABI", function()
  local text = declarations()

  it("is read as the header means it", function()
    local found = structs(text)
    assert.are.same({ "data", "shape", "dtype", "ndim" }, found.gdn_tensor)
    assert.are.equal("size", found.gdn_config[1])
    local batch = found.gdn_batch -- ends in three members of one declaration
    assert.are.same({ "query_len", "max_rows", "max_blocks_per_row", "num_groups" },
                    { batch[1], batch[#batch - 2], batch[#batch - 1], batch[#batch] })
    for _, name in ipairs { "gdn_builder_info", "gdn_metadata", "gdn_raw" } do
      assert.is_truthy(found[name], name)
    end
  end)

  it("lays every struct out as the C compiler does", function()
    local assertions = {}
    for name, fields in pairs(structs(text)) do
      assertions[#assertions + 1] = ('_Static_assert(sizeof(%s) == %d, "sizeof %s");'):format(
        name, ffi.sizeof(name), name)
      for _, field in ipairs(fields) do
        assertions[#assertions + 1] = ('_Static_assert(offsetof(%s, %s) == %d, "offset of %s.%s");'):format(
          name, field, assert(ffi.offsetof(name, field), name .. "." .. field), name, field)
      end
    end
    assert.is_true(#assertions > 100)
    assert.are.equal("", complaints(assertions))
  end)

  it("gives every constant the value that C gives it", function()
    local assertions = {}
    for body in text:gmatch "enum[%w_ ]*(%b{})" do
      for name in body:gmatch "GDN_[%w_]+" do
        local value = tonumber(lib[name])
        assertions[#assertions + 1] = ('_Static_assert(%s == %d, "%s");'):format(name, value, name)
      end
    end
    assert.is_true(#assertions >= 19)
    assert.are.equal("", complaints(assertions))
  end)

  it("is seen to differ where it does", function()
    local wrong = '_Static_assert(offsetof(gdn_tensor, dtype) == 8, "offset of gdn_tensor.dtype");'
    assert.matches("offset of gdn_tensor.dtype", complaints { wrong }, 1, true)
  end)

  it("is the one that the library was compiled with", function()
    assert.are.equal(tonumber(lib.GDN_ABI), tonumber(lib.gdn_abi()))
  end)

  -- Declarations without the order they stand in: moving one changes no ABI.
  it("has a number of its own: gdnmeta.h has it beside a hash of what the headers declare", function()
    local list, depth, from = {}, 0, 1
    for at, sign in text:gmatch "()([{};])" do
      depth = depth + (sign == "{" and 1 or sign == "}" and -1 or 0)
      if sign == ";" and depth == 0 then
        list[#list + 1], from = text:sub(from, at):gsub("%s+", " "):gsub("^ ", ""), at + 1
      end
    end
    table.sort(list)
    assert.is_true(#list > 60)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(table.concat(list, "\n"))
    file:close()
    local hash = io.popen("sha256sum " .. path):read "*a":sub(1, 16)
    os.remove(path)
    local stated = blocks.read "src/gdnmeta.h":match "enum { GDN_ABI = %d+ }; /%* (%x+) %*/"
    assert.is_true(hash == stated,
      "declarations have changed: bump GDN_ABI in src/gdnmeta.h and put this hash beside it: " .. hash)
  end)

  it("is used as the header's first lines show", function()
    local example = {}
    for line in io.lines "src/gdnmeta.h" do
      example[#example + 1] = line:match "^ %*     ([%w].*)$"
      if line == " *" and #example > 0 then break end
    end
    assert.matches("^gdn_config config;", example[1])
    local main = "#include <stdio.h>\nint main(void)\n{\n%s\nreturn 0;\n}"
    assert.are.equal("", complaints { main:format(table.concat(example, "\n")) })
  end)

  it("reads as LuaJIT was told: cdef.lua is what the header says now", function()
    local file = assert(io.open "lua/gdnmeta/native/cdef.lua")
    local generated = file:read "*a"
    file:close()
    local from = "src/gdnmeta.h, src/gdnmeta_scheduler.h and src/gdnmeta_prefix_index.h"
    assert.matches("^%-%- Generated from " .. from .. " by make. Do not edit.\n", generated)
    assert.is_truthy(generated:find(text, 1, true), "stale: run make")
  end)

  it("has its options and fields from the core's tables: schema.lua is what they say now", function()
    local program = os.tmpname()
    local compile = "env -u LD_PRELOAD sh -c 'cc -std=c11 -Isrc -o %s scripts/schema.c 2>&1 && %s'"
    local pipe = io.popen(compile:format(program, program))
    local printed = pipe:read "*a"
    pipe:close()
    os.remove(program)
    assert.are.equal(blocks.read "lua/gdnmeta/native/schema.lua", printed, "stale: run make")
  end)

  it("refuses what lies beside a range of schema.lua, and starts from its defaults", function()
    local schema = require "gdnmeta.native.schema"
    local config, bytes, why = ffi.new "gdn_config", ffi.new "int64_t[1]", ffi.new "char[256]"
    assert.is_true(#schema.options > 20)
    for _, option in ipairs(schema.options) do
      local name, range = option.name, ("want %d .. %d"):format(option.low, option.high)
      lib.gdn_config_init(config)
      assert.are.equal(option.default, config[name], name)
      for _, value in ipairs { option.low - 1, option.high + 1 } do
        if value < 2 ^ 31 then
          lib.gdn_config_init(config)
          config[name] = value
          assert.are.equal(lib.GDN_EINVAL, lib.gdn_builder_bytes(config, bytes, why, 256), name)
          assert.are.equal(("%s = %d, %s"):format(name, value, range), ffi.string(why))
        end
      end
    end
  end)
end)
