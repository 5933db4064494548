-- Annotations of public classes (---@class, ---@field, ---@param, ---@return) say what their objects have.
local gdn = require "gdnmeta"
local fields = require("gdnmeta.native.schema").fields

-- Where a class and its methods stand.
local CLASSES = {
  Builder = { "builder", "builder/state_tables", "builder/device_inputs", "builder/verify" },
  Batch = { "batch" }, Metadata = { "metadata" }, Tensor = { "tensor" },
  Engine = { "engine", "engine/control", "engine/idle_step" }, Step = { "engine/step" },
  Policy = { "policy" }, StateCache = { "engine/show_cache" },
  Metrics = { "metrics" }, Recording = { "record" }, Reader = { "record/reader" }, Layer = { "reference" },
}

local function slurp(name)
  local file = assert(io.open("lua/gdnmeta/" .. name .. ".lua"))
  local text = file:read "*a"
  file:close()
  return text
end

-- The ---@field lines of a class: name -> type.
local function annotated(class)
  local list, n = {}, 0
  local text = slurp(CLASSES[class][1])
  local block = text:match("%-%-%-@class gdnmeta%." .. class .. "\n(.-)\nlocal ")
  assert(block, class .. " has no ---@class")
  for name, kind in block:gmatch "%-%-%-@field ([%w_]+) (%S+)" do
    assert(not list[name], class .. "." .. name .. " is annotated twice")
    list[name], n = kind, n + 1
  end
  assert(n > 0, class .. " has no field")
  return list
end

-- Does a value fit an annotation? Of classes only that it is an object.
local function fits(value, kind)
  if value == nil then return kind:find("|nil", 1, true) ~= nil end
  for one in kind:gmatch "[^|]+" do
    local is = type(value)
    if one == is or one == "integer" and is == "number" and value % 1 == 0 then return true end
    if (one == "ffi.cdata*" or one == "gdnmeta.Tensor") and is == "cdata" then return true end
    local is_object = one:find "^gdnmeta%." or one:find "%[%]$" or one:find "^table<"
    if is == "table" and is_object then return true end
  end
  return false
end

local function check(class, object)
  for name, kind in pairs(annotated(class)) do
    local value = object[name] -- raises where there is no such field
    local text = ("%s.%s is a %s, annotated as %s"):format(class, name, type(value), kind)
    assert.is_true(fits(value, kind), text)
  end
end

-- The comment block right above a function.
local function block_above(lines, at)
  local list = {}
  while at > 1 and lines[at - 1]:find "^%-%-" do
    at = at - 1
    table.insert(list, 1, lines[at])
  end
  return table.concat(list, "\n")
end

local function lines_of(text)
  local list = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do list[#list + 1] = line end
  return list
end

-- Every public method: visit(where, formals, comment, body).
local function each_method(class, visit)
  local count = 0
  for _, name in ipairs(CLASSES[class]) do
    local lines = lines_of(slurp(name))
    for at, line in ipairs(lines) do
      local owner, dot, method, formals = line:match "^function ([%w_]+)([:.])([%w_]+)%((.-)%)"
      local is_method = owner and method:sub(1, 2) ~= "__" and owner ~= "metatable"
        and owner ~= "old" and (owner ~= "M" or name:find "/") -- old: names of the release before
      local comment = is_method and block_above(lines, at)
      if is_method and not comment:find "@local" then
        if dot == "." then formals = formals:gsub("^[%w_]+,? ?", "") end -- the object itself
        local body, last = {}, at
        while lines[last] and lines[last] ~= "end" and not lines[last]:find " end$" do
          body[#body + 1], last = lines[last], last + 1
        end
        count = count + 1
        visit(("%s:%s"):format(class, method), formals, comment, table.concat(body, "\n"))
      end
    end
  end
  return count
end

describe("Annotations", function()
  local builder, batch, engine, step, meta, recording, reader, path
  setup(function()
    path = os.tmpname()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64,
                                   num_slots = 9, max_blocks_per_row = 2 })
    engine = assert(gdn.engine { builder = builder, max_model_len = 64, hash_block_size = 4 })
    recording = assert(engine:record(path))
    assert(engine:submit { id = "a", prompt_tokens = 9, max_tokens = 2 })
    step = assert(engine:step(0))
    meta = step.metadata
    recording:close()
    reader = assert(gdn.record.open(path))
    batch = assert(builder:batch())
  end)
  teardown(function()
    reader:close()
    engine:close()
    batch:close()
    builder:close()
    os.remove(path)
  end)

  it("of fields fit the objects", function()
    check("Builder", builder)
    check("Batch", batch)
    check("Metadata", meta)
    check("Tensor", meta.non_spec_query_start_loc)
    check("Engine", engine)
    check("Step", step)
    check("StateCache", engine.cache)
    check("Policy", engine.policy)
    check("Metrics", assert(gdn.metrics(engine)))
    check("Recording", recording)
    check("Reader", reader)
    check("Layer", gdn.reference.layer { num_slots = 2, draw = function() return 0 end })
  end)

  it("name every field of a metadata, and no other", function()
    local list, all = annotated "Metadata", { step = true, nums_dict = true }
    for _, name in ipairs(fields.counts) do all[name] = true end
    for _, name in ipairs(fields.tensors) do all[name] = true end
    for name in pairs(all) do assert(list[name], name .. " is not annotated") end
    for name in pairs(list) do assert(all[name], name .. " is annotated, but no field") end
  end)

  it("stand above every public method, with every argument and what it returns", function()
    local lacking = {}
    local function want(is_there, where, what)
      if not is_there then lacking[#lacking + 1] = where .. ": no " .. what end
    end
    for class in pairs(CLASSES) do
      local count = each_method(class, function(where, formals, comment, body)
        want(comment:find "^%-%-%-" or comment:find "\n%-%-%-", where, "description")
        for formal in formals:gmatch "[%w_]+" do
          want(comment:find("@param " .. formal .. "%??%s"), where, "@param " .. formal)
        end
        if body:find "%f[%w]return [^\n]" then want(comment:find("@return", 1, true), where, "@return") end
      end)
      assert.is_true(count > 0 or class == "Policy", class .. " has no method")
    end
    table.sort(lacking)
    assert.are.same({}, lacking)
  end)
end)
