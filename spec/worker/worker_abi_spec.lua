-- The worker's header: LuaJIT's picture of it is the C compiler's, and its version is of what it declares.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local blocks = require "spec.support.blocks"
local members = require "spec.support.struct_members"
require "spec.support.step_records" -- which declares it

local FLAGS = "-DGDNMETA_CDEF -DGDNMETA_H -DGDN_API= -DGDN_OWN= -DGDN_NULL_OK="

local function output(command)
  local pipe = assert(io.popen("env -u LD_PRELOAD sh -c '" .. command .. "'"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("The worker's ABI", function()
  local text = output("cc -E -P " .. FLAGS .. " -x c src/gdnmeta_worker.h")

  it("is what LuaJIT was told", function()
    assert.is_truthy(blocks.read "lua/gdnmeta/worker/cdef.lua":find(text, 1, true), "stale: run make")
  end)

  it("lays out every struct and numbers every constant as the C compiler does", function()
    local lines, path = { "#include <stddef.h>", '#include "gdnmeta_worker.h"' }, os.tmpname()
    for body, name in text:gmatch "typedef struct [%w_]+%s*(%b{})%s*([%w_]+)%s*;" do
      for _, field in ipairs(members(body:sub(2, -2))) do
        lines[#lines + 1] = ('_Static_assert(offsetof(%s, %s) == %d && sizeof(%s) == %d, "%s.%s");'):format(
          name, field, ffi.offsetof(name, field), name, ffi.sizeof(name), name, field)
      end
    end
    for body in text:gmatch "enum[%w_ ]*(%b{})" do
      for name in body:gmatch "GDN_[%w_]+" do
        lines[#lines + 1] = ('_Static_assert(%s == %d, "%s");'):format(name, tonumber(lib[name]), name)
      end
    end
    assert.is_true(#lines > 70, #lines)
    local file = assert(io.open(path, "w"))
    file:write(table.concat(lines, "\n"), "\n")
    file:close()
    assert.are.equal("", output("cc -std=c11 -Isrc -fsyntax-only -x c " .. path .. " 2>&1"))
    os.remove(path)
  end)

  it("has a version of its own, which changes with what the header declares", function()
    assert.are.equal(tonumber(lib.GDN_WORKER_VERSION), lib.gdn_worker_version())
    local list, depth, from = {}, 0, 1
    for at, sign in text:gmatch "()([{};])" do
      depth = depth + (sign == "{" and 1 or sign == "}" and -1 or 0)
      if sign == ";" and depth == 0 then
        list[#list + 1], from = text:sub(from, at):gsub("%s+", " "):gsub("^ ", ""), at + 1
      end
    end
    table.sort(list)
    assert.is_true(#list > 25)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(table.concat(list, "\n"))
    file:close()
    local hash = output("sha256sum " .. path):sub(1, 16)
    os.remove(path)
    local stated = blocks.read "src/gdnmeta_worker.h":match "GDN_WORKER_VERSION = %d+ }; /%* (%x+) %*/"
    assert.is_true(hash == stated,
      "declarations have changed: bump GDN_WORKER_VERSION and put this hash beside it: " .. hash)
  end)
end)
