-- luajit spec/support/print_plays.lua <first> <last>: plays of engine_play.lua, a line each. In a process of
-- its own, whose options say what LuaJIT compiles.
local engine_play = require "spec.support.engine_play"

for case = tonumber(arg[1]), tonumber(arg[2]) do print(engine_play.play(case)) end
