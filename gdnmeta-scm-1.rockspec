rockspec_format = "3.0"
package = "gdnmeta"
version = "scm-1"
source = { url = "git+file://." }
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
  install_variables = { LUADIR = "$(LUADIR)", LIBDIR = "$(LIBDIR)", BINDIR = "$(BINDIR)" },
}
deploy = { wrap_bin_scripts = false } -- bin/gdnmeta finds its modules itself, and wants LuaJIT
test = { type = "command", command = "make test" }
