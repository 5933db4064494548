-- Do faults.lua and explained.lua still speak of the code? A fault has one place in its file, and an
-- explanation of code that is gone explains nothing. `make lint` asks, for it takes no build.
local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

for _, fault in ipairs(require "spec.mutants.faults") do
  local name, path, was = unpack(fault)
  local text = read(path)
  local _, to = text:find(was, 1, true)
  assert(to, ("faults.lua: %s: no %q in %s"):format(name, was, path))
  assert(not text:find(was, to + 1, true), ("faults.lua: %s: two of %q in %s"):format(name, was, path))
end

for _, entry in ipairs(require "spec.mutants.explained") do
  assert(read(entry[1]):find(entry[2], 1, true), ("explained.lua: no %q in %s"):format(entry[2], entry[1]))
end
