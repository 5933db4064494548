-- Random steps of full_cuda_graph = "mixed" against the oracle: whatever the mix, a bucket's tensors have the
-- shapes that gdn.bucket tells, lie where they lay, and hold what the table says.
--   GDN_SEED=N   replays a run      GDN_CASES=N   steps
local cjson = require "cjson"
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local corrupt = require "spec.support.flip_elements"
local feed = require "spec.support.submit_paths"
local oracle = require "spec.support.oracle"
local random = require "spec.support.random_config"
local schema = require "gdnmeta.native.schema"
local steps = require "spec.support.random_step"
local until_met = require "spec.support.until_met"
local vectors = require "spec.support.vectors"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 800
local PER_BUILDER = 25
local MIXES = { "none", "s", "d", "p", "sd", "sp", "dp", "sdp", "refused" }

local chance = random.chance

local function draw_config(rand)
  local config = random.config(rand, "strict")
  config.full_cuda_graph, config.max_cudagraph_capture_size = "mixed", nil
  config.pad_slot_id = chance(rand, 30) and -1 or 0
  config.query_start_loc_dtype = chance(rand, 30) and "int64" or "int32"
  if chance(rand, 5) then
    config.num_groups, config.num_slots = 64, random.slots_of(config, 1)
  end
  return config
end

local function address(tensor) return tonumber(ffi.cast("uintptr_t", tensor.data)) end

-- Shapes and addresses of every tensor of every group; or what is not as the bucket says.
local function layout_of(meta, options, num_groups)
  local list, shapes = {}, assert(gdn.bucket(meta.num_rows, meta.num_actual_tokens, options))
  for g = 0, num_groups - 1 do
    local view = meta:group(g)
    for _, name in ipairs(schema.fields.tensors) do
      local tensor, want = view[name], shapes[name]
      if (tensor == nil) ~= (want == nil) then return nil, name .. " is there on one side alone" end
      if tensor ~= nil then
        local is, told = table.concat(tensor.shape, ", "), table.concat(want.shape, ", ")
        if is ~= told or tensor.dtype ~= want.dtype then
          return nil, ("%s is %s[%s], told as %s[%s]"):format(name, tensor.dtype, is, want.dtype, told)
        end
        list[#list + 1] = ("%d %s %d"):format(g, name, address(tensor))
      end
    end
  end
  if shapes.num_tiles ~= meta.num_tiles then return nil, "num_tiles" end
  return table.concat(list, "\n")
end

local function mix_of(record)
  local mix = (record.num_spec_decodes > 0 and "s" or "") .. (record.num_decodes > 0 and "d" or "")
    .. (record.num_prefills > 0 and "p" or "")
  return mix == "" and "none" or mix
end

-- body(self, inputs, path, rows, must) for each step, until what is wanted was met; self: builder, batch,
-- config, options, rand, met.
local function each_step(seed, cases, wanted, body)
  local rand = random.rng(seed)
  local self = { rand = rand }
  until_met(1, cases, wanted, function(case, met)
    self.met = met
    if case % PER_BUILDER == 1 then
      if self.builder then
        self.batch:close()
        self.builder:close()
      end
      self.config = draw_config(rand)
      self.options = vectors.without_nulls(self.config)
      self.options.device, self.options.check, self.options.poison = "cpu", true, chance(rand, 30)
      self.builder = assert(gdn.builder(self.options))
      self.batch, self.last, self.layouts = assert(self.builder:batch()), nil, {}
    end
    local inputs, path, rows, must = steps.draw_bucket(rand, self.config)
    local ok, reason = pcall(body, self, inputs, path, rows, must)
    if not ok then
      error(("GDN_SEED=%d case %d (%s): %s\n%s"):format(SEED, case, path, reason,
        cjson.encode { config = self.config, inputs = inputs }), 0)
    end
  end, 4000)
  self.batch:close()
  self.builder:close()
end

describe("A step of a bucket", function()
  print(("\nbuckets_random_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))

  it("is what the oracle says, where and as long as the bucket says", function()
    local wanted = {}
    for _, mix in ipairs(MIXES) do wanted[mix] = CASES / 200 end
    each_step(SEED, CASES, wanted, function(self, inputs, path, rows, must)
      local record, groups = oracle.build("strict", self.config, inputs)
      if chance(self.rand, 10) then
        lib.gdn_builder_poison(self.builder.handle)
        self.last = nil
      end
      local meta, why = feed.paths[path](self.builder, self.batch, inputs, rows)
      assert(not (must and record), "the oracle built a step that breaks " .. tostring(must))
      if not record then
        assert(not meta, "built, want it refused: " .. tostring(groups))
        local last = self.last
        local changed = last and compare.everything(last.record, last.groups, self.builder.metadata)
        assert(not changed, "a refused build changed " .. tostring(changed))
        self.met.refused = (self.met.refused or 0) + 1
        return
      end
      assert(meta, why)
      local reason = compare.everything(record, groups, meta) or select(2, self.builder:peek_check_result())
      if reason then error(reason, 0) end
      local layout, odd = layout_of(meta, self.options, self.config.num_groups)
      if not layout then error(odd, 0) end
      local bucket = ("%d x %d"):format(record.num_rows, record.num_actual_tokens)
      assert(layout == (self.layouts[bucket] or layout), "the tensors of bucket " .. bucket .. " have moved")
      self.layouts[bucket], self.last = layout, { record = record, groups = groups }
      local mix = mix_of(record)
      self.met[mix] = (self.met[mix] or 0) + 1
    end)
  end)
end)

describe("A check of a bucket", function()
  it("sees every changed element that can be seen", function()
    local counts, cases = { seen = 0, unseen = {}, codes = {} }, math.max(20, math.min(CASES / 30, 400))
    each_step(SEED + 1, cases, { seen = 1000, codes = 10 }, function(self, inputs, path, rows)
      local meta = feed.paths[path](self.builder, self.batch, inputs, rows)
      if meta then corrupt.run(self.rand, self.builder, self.config, "strict", inputs, counts) end
      self.met.seen, self.met.codes = counts.seen, 0
      for _ in pairs(counts.codes) do self.met.codes = self.met.codes + 1 end
    end)
  end)
end)
