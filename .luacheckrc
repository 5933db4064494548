std = "luajit"
max_line_length = 110
exclude_files = { "lua/gdnmeta/native/cdef.lua", "lua/gdnmeta/native/schema.lua",
                  "lua/gdnmeta/worker/cdef.lua", "build" }
files["spec"] = { std = "luajit+busted" }
files["examples/nginx"] = { std = "ngx_lua+luajit" }
