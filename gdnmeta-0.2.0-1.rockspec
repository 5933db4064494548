rockspec_format = "3.0"
package = "gdnmeta"
version = "0.2.0-1"
source = { url = "git+file://.", tag = "v0.2.0" }
description = {
  summary = "Batch metadata for Gated-DeltaNet layers, for LLM servers scripted in Lua",
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua == 5.1", "argparse", "lua-cjson" }
build = {
  type = "make",
  build_target = "all",
  install_target = "install",
  build_variables = { CC = "$(CC)", CFLAGS = "$(CFLAGS)", LIBFLAG = "$(LIBFLAG)" },
  -- The header and gdnmeta.pc stay in the rock's folder, from which luarocks moves the library to lib/lua/5.1.
  install_variables = {
    PREFIX = "$(PREFIX)", BINDIR = "$(BINDIR)", LUADIR = "$(LUADIR)", LIBDIR = "$(LIBDIR)",
    LUALIBDIR = "$(LIBDIR)", PCDIR = "$(PREFIX)/pkgconfig",
    PC_PREFIX = "$${pcfiledir}/..", PC_LIBDIR = "$${pcfiledir}/../../../../../lua/5.1",
  },
}
deploy = { wrap_bin_scripts = false } -- bin/gdnmeta finds its modules itself, and wants LuaJIT
test = { type = "command", command = "make test" }
