-- The house rule of lua/gdnmeta: the root has one file per public module, everything else lies with its
-- owner, and a file requires only what lies below it. What only tools need stands at the top, so that a
-- server never loads it.
local FLOORS = { -- from the ground up; a name is a file, or a folder with all that no longer name covers
  "version", "native", "array_of", "tensor", "metadata", "batch", "builder", "reorder", "identity",
  "engine.hooks.no_field", "engine.prefix.hook_tables", "engine.prefix.refused", "engine.prefix.index_nodes",
  "engine.prefix.index", "engine.prefix.positions", "engine.prefix.priorities",
  "policy.contained", "policy", "cache", "engine.stopwatch", "engine.places", "engine.requests",
  "engine.newcomers", "engine.plan", "engine.queue", "engine.decide",
  "engine.hooks", "engine", "metrics", "record", "worker", "reference", "gdnmeta", "sim.parts", "report",
  "sim", "repl", "cli",
}
-- Opened when a host first asks for it, not when the module is loaded.
local LATER = { ["engine.control"] = "record" }

local function files()
  local list, pipe = {}, io.popen "find lua/gdnmeta -name '*.lua' ! -name cdef.lua ! -name schema.lua"
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  assert(#list > 150, "no files found")
  return list
end

local function module_of(path)
  local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  return name == "gdnmeta" and name or name:gsub("^gdnmeta%.", "")
end

local function slurp(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

-- What a file requires of ours: a list of modules.
local function required(path)
  local list = {}
  for name in slurp(path):gmatch 'require *%(? *"gdnmeta([%w_.]*)"' do
    if name:sub(-1) ~= "." then list[#list + 1] = name == "" and "gdnmeta" or name:sub(2) end
  end
  return list
end

local function floor_of(module)
  local name = module:find "^sim%." and "sim.parts" or module
  local floor, length = nil, 0
  for i, owner in ipairs(FLOORS) do
    local is_in = name == owner or name:sub(1, #owner + 1) == owner .. "."
    if is_in and #owner > length then floor, length = i, #owner end
  end
  return assert(floor, module .. " has no floor: name it in FLOORS")
end

describe("The files of lua/gdnmeta #lua", function()
  it("are required from above only", function()
    for _, path in ipairs(files()) do
      local module = module_of(path)
      for _, other in ipairs(required(path)) do
        if other ~= "native.cdef" and LATER[module] ~= other then
          assert.is_true(floor_of(other) <= floor_of(module),
            ("%s requires gdnmeta.%s, which is above it"):format(path, other))
        end
      end
    end
  end)

  it("have no circle", function()
    local needs, state = {}, {}
    for _, path in ipairs(files()) do needs[module_of(path)] = required(path) end
    local function visit(module, way)
      if state[module] == "done" then return end
      assert.are_not.equal("open", state[module], "a circle: " .. way .. " -> " .. module)
      state[module] = "open"
      for _, other in ipairs(LATER[module] and {} or needs[module] or {}) do
        visit(other, way .. " -> " .. module)
      end
      state[module] = "done"
    end
    for module in pairs(needs) do visit(module, "") end
  end)

  it("have one file in the root per public module, each with pages of its own", function()
    local pages = slurp "config.ld"
    for _, path in ipairs(files()) do
      local name = path:match "^lua/gdnmeta/([%w_]+)%.lua$"
      if name and name ~= "init" and name ~= "version" then
        assert.is_truthy(pages:find('"' .. path .. '"', 1, true), path .. " is in no page of `make docs`")
      end
    end
  end)

  it("hold files of at most 300 lines", function()
    for _, path in ipairs(files()) do
      local _, lines = slurp(path):gsub("\n", "")
      assert.is_true(lines <= 300, ("%s has %d lines"):format(path, lines))
    end
  end)
end)
