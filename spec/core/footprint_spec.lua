-- What an engine and a builder take, array by array and to the byte: spec/goldens/texts/footprint.txt.
local ffi = require "ffi"
local builder_sizes = require "spec.support.builder_sizes"
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local hosts = require "spec.support.worker_host"
local serve = require "spec.support.run_engine"

-- Bytes of the arrays that hang on an engine. Columns of requests are one sum.
local function arrays(owner, ...)
  local seen, list, columns = {}, {}, 0
  for _, other in ipairs { ... } do seen[other] = true end
  local function walk(name, value)
    if type(value) == "table" and not seen[value] then
      seen[value] = true
      for key, of in next, value do walk(name and name .. "." .. tostring(key) or tostring(key), of) end
    elseif type(value) == "cdata" and tostring(ffi.typeof(value)):find "%[[?%d]+%]>$" then
      local column = name:match "requests%.[%l_]+$"
      local bytes = ffi.sizeof(value)
      if column then columns = columns + bytes else list[#list + 1] = bytes end
    end
  end
  walk(nil, owner)
  local sum = columns
  for _, bytes in ipairs(list) do sum = sum + bytes end
  table.sort(list)
  return list, columns, sum
end

local function arrays_of(engine) return arrays(engine, engine.builder, engine.private.second_builder) end

local function engine_of(seqs, given)
  local function builder()
    return assert(gdn.builder { device = "cpu", max_num_seqs = seqs, max_num_batched_tokens = 1024,
                                num_speculative_tokens = 1 })
  end
  local o = { builder = builder(), max_model_len = 1000 }
  for name, value in pairs(given) do o[name] = value end
  if o.async then o.second_builder = builder() end
  return assert(gdn.engine(o))
end

describe("Memory", function()
  it("of an engine is so many bytes per request, and so many besides", function()
    local parts = {}
    for _, given in ipairs { { policy = "fcfs" }, { policy = "fair", rekey_limit = 7 },
                             { policy = "deadline", rekey_limit = 9, capture_sizes = { 1, 2, 40 } },
                             { policy = "priority", async = true } } do
      local small, large = engine_of(8, given), engine_of(72, given)
      local _, _, less = arrays_of(small)
      local list, columns, more = arrays_of(large)
      local per_request = (more - less) / 64
      parts[#parts + 1] = ("%s%s: %g bytes per request and %g, %d of requests"):format(given.policy,
        given.async and ", async" or "", per_request, more - 72 * per_request, columns)
      parts[#parts + 1] = "  " .. table.concat(list, " ")
      small:close()
      large:close()
    end
    golden("footprint", table.concat(parts, "\n") .. "\n")
  end)

  it("of an engine with a state cache is so many bytes", function()
    local parts = {}
    for n, o in ipairs {
      { { kv_blocks = 90, kv_block_size = 4 }, {} },
      { { host_slots = 9 }, { num_groups = 3 } },
      { { host_slots = 5, kv_blocks = 99, kv_block_size = 2 },
        { num_groups = 2, mamba_cache_mode = "align", mamba_block_size = 4, max_blocks_per_row = 60,
          num_speculative_tokens = 2, num_slots = 50 } },
    } do
      local engine = serve.caching_engine(o[1], o[2])
      for id = 1, 12 do
        local text = {}
        for k = 1, 13 + id do text[k] = 100 * (id % 5) + k end
        assert(engine:submit { id = id, prompt_tokens = #text, tokens = text, max_tokens = 9 })
      end
      serve.run(engine)
      local list, columns = arrays_of(engine)
      parts[#parts + 1] = ("%d: %d of requests\n  %s"):format(n, columns, table.concat(list, " "))
      engine:close()
    end
    golden("footprint-cache", table.concat(parts, "\n") .. "\n")
  end)

  it("of a worker is so many bytes", function()
    local parts = {}
    for _, o in ipairs {
      { { num_speculative_tokens = 0, max_num_seqs = 5, max_rows = 7, max_requests = 11 }, {} },
      { { num_groups = 2 }, { kv_blocks = 90, kv_block_size = 4, host_slots = 0 } },
    } do
      for _, given in ipairs { { command = { "true" } }, { model = { forward = function() end } } } do
        local engine = hosts.engine(o[1], o[2])
        local host = assert(hosts.new(engine, given))
        local private = host.worker.private
        parts[#parts + 1] = table.concat(arrays(private, engine, engine.private, engine.builder), " ")
        local sizes = private.pack.buffers.sizes
        parts[#parts + 1] = ("  a record of %d, changes of %d"):format(sizes.record, sizes.changes)
        host:close()
      end
    end
    golden("footprint-worker", table.concat(parts, "\n") .. "\n")
  end)

  -- #lua: with GDN_DEBUG, which make asan sets, it is some bytes more.
  it("of a builder is so many bytes #lua", function()
    local parts = {}
    for _, given in ipairs(builder_sizes) do
      local o = {}
      for name, value in pairs(given) do o[name] = value end
      for _, device in ipairs { "cpu", "cuda" } do
        o.device = device
        parts[#parts + 1] = ("%.0f"):format(assert(gdn.builder_bytes(o)))
      end
    end
    golden("builder_bytes", table.concat(parts, "\n") .. "\n")
  end)
end)
