-- The CPU and a CUDA device on the same random steps: both refuse, or give the same bytes in every tensor
-- of every group.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local random = require "spec.support.random_config"
local steps = require "spec.support.cpu_vs_cuda_steps"
local until_met = require "spec.support.until_met"
local array_of = require "gdnmeta.array_of"

local byte_array = array_of "uint8_t"

ffi.cdef "int memcmp(const void *a, const void *b, size_t n);"

local chance, pick = random.chance, random.pick
local SIZES = { [0] = 4, 8, 1, 1 }

local M = {}

-- Every tensor of a step, those of each group included: { name, gdn_tensor, gdn_tensor }.
local function tensors_of(self)
  local pair, list = self.pair, {}
  local function add(name, a, b) list[#list + 1] = { name, a, b } end
  local a, b = lib.gdn_builder_metadata(pair.cpu.handle), lib.gdn_builder_metadata(pair.gpu.handle)
  for _, name in ipairs(compare.TENSORS) do add(name, a[name], b[name]) end
  for g = 0, pair.config.num_groups - 1 do
    local ga, gb = ffi.new "gdn_metadata", ffi.new "gdn_metadata"
    lib.gdn_metadata_group(pair.cpu.handle, g, ga)
    lib.gdn_metadata_group(pair.gpu.handle, g, gb)
    for _, name in ipairs(compare.STATE) do add(("group %d %s"):format(g, name), ga[name], gb[name]) end
    self.anchors[g] = { ga, gb }
  end
  return list
end

local function size_of(t) return t.shape[0] * t.shape[1] * SIZES[t.dtype] end
local function address(t) return tonumber(ffi.cast("uintptr_t", t.data)) end

local function shapes_differ(a, b)
  if (a.data == nil) ~= (b.data == nil) then return "present on one side only" end
  if a.data == nil then return end
  if a.dtype ~= b.dtype or a.ndim ~= b.ndim or a.shape[0] ~= b.shape[0] or a.shape[1] ~= b.shape[1] then
    return "shapes differ"
  end
end

local POINTERS = { [0] = "int32_t *", "int64_t *", "uint8_t *", "uint8_t *" }

local function elements_differ(a, memory)
  local bytes = size_of(a)
  if ffi.C.memcmp(a.data, memory, bytes) == 0 then return end
  local want, got = ffi.cast(POINTERS[a.dtype], a.data), ffi.cast(POINTERS[a.dtype], memory)
  local i = 0
  while want[i] == got[i] do i = i + 1 end
  return ("[%d] of [%d, %d]: want %s, got %s"):format(i, a.shape[0], a.shape[1], tostring(want[i]),
    tostring(got[i]))
end

--- Do the outputs of two builders differ, and where? All that a step wrote comes back in one copy, or tensor
--- by tensor.
---@param self table { pair = { cpu, gpu, config }, bytes = 0, anchors = {}, each }
---@return string|nil reason
function M.metadata_differ(self)
  local handle, list = self.pair.gpu.handle, tensors_of(self)
  local a, b = lib.gdn_builder_metadata(self.pair.cpu.handle), lib.gdn_builder_metadata(handle)
  for _, name in ipairs(compare.SCALARS) do
    if a[name] ~= b[name] then return ("%s: want %d, got %d"):format(name, a[name], b[name]) end
  end
  local low, high = math.huge, 0
  for _, entry in ipairs(list) do
    local reason = shapes_differ(entry[2], entry[3])
    if reason then return entry[1] .. ": " .. reason end
    if entry[3].data ~= nil then
      low, high = math.min(low, address(entry[3])), math.max(high, address(entry[3]) + size_of(entry[3]))
    end
  end
  if high - low > self.bytes then
    self.bytes = 2 * (high - low)
    self.host = byte_array(self.bytes)
  end
  local function read(at, bytes)
    return lib.gdn_builder_read(handle, self.host + (at - low), ffi.cast("void *", at), bytes) ~= 0
      and ffi.string(lib.gdn_last_error(handle))
  end
  local reason = not self.each and read(low, high - low)
  for _, entry in ipairs(list) do
    local tensor = entry[2].data ~= nil and entry[3]
    if tensor and self.each then reason = reason or read(address(tensor), size_of(tensor)) end
    reason = reason or tensor and elements_differ(entry[2], self.host + (address(tensor) - low))
    if reason then return entry[1] .. ": " .. reason end
  end
end

local function step(self, rand)
  local pair = self.pair
  if chance(rand, 12) then
    lib.gdn_builder_poison(pair.cpu.handle)
    lib.gdn_builder_poison(pair.gpu.handle)
  end
  pair:copy(rand, chance(rand, 60) and pair:redraw(rand) or pair:draw(rand))
  local before, want, got = lib.gdn_builder_metadata(pair.gpu.handle).step
  if pair.config.full_cuda_graph == "mixed" and chance(rand, 10) then
    local rows, tokens = rand(0, pair.config.max_rows), rand(0, pair.config.max_num_batched_tokens)
    want = tonumber(lib.gdn_capture_bucket(pair.cpu.handle, rows, tokens, nil))
    got = tonumber(lib.gdn_capture_bucket(pair.gpu.handle, rows, tokens, self.stream))
  else
    want = tonumber(lib.gdn_build(pair.cpu.handle, pair.a.rows, nil))
    got = tonumber(lib.gdn_build(pair.gpu.handle, pair.b.rows, self.stream))
  end
  if want ~= got then
    local handle = want ~= 0 and pair.cpu.handle or pair.gpu.handle
    -- what only the device can see, it does not refuse
    local unseen = pair.has_tables or pair.seq_lens or pair.accepted
    if unseen and want == -1 and got == 0 then
      self.unseen, pair.unseen = self.unseen + 1, true
      return
    end
    return ("status %d on the CPU, %d on the device: %s"):format(want, got,
      ffi.string(lib.gdn_last_error(handle)))
  end
  if want ~= 0 then
    self.refused = self.refused + 1
    local counted = lib.gdn_builder_metadata(pair.gpu.handle).step ~= before
    return counted and "a refused build counts as a step" or nil
  end
  self.buckets = self.buckets + (pair.config.full_cuda_graph == "mixed" and 1 or 0)
  local reason = M.metadata_differ(self)
  if reason or not pair.config.check or pair.unseen then return reason end
  self.checked = self.checked + 1
  return select(2, pair.cpu:peek_check_result()) or select(2, pair.gpu:peek_check_result())
end

--- Runs `cases` random steps, and more until what is wanted was met. Raises on the first that differs;
--- returns what was met.
---@param driver table see spec.support.driver
---@param options table { seed, cases, progress, wanted }; wanted: as until_met has it, rule sets by name
function M.run(driver, options)
  local seed = options.seed
  local self = { unseen = 0, refused = 0, bytes = 0, anchors = {}, rules = {}, launches = 0, ring = 0,
    skipped = 0, buckets = 0, checked = 0, stream = driver:stream(), each = options.each == 1 }
  local case, per_pair, wanted = 0, options.per_pair or 40, options.wanted or {}
  local pairs_of_builders = math.ceil(options.cases / per_pair)
  until_met(0, pairs_of_builders, wanted, function(number, met)
    local rand = random.rng(seed * 10007 + number)
    for _ = 1, 10 do rand(0, 1) end -- the first numbers of neighbouring seeds are alike
    local rules = pick(rand, { "strict", "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" })
    self.rules[rules] = (self.rules[rules] or 0) + 1
    self.pair = steps.open(rand, driver, rules)
    for _ = 1, number < pairs_of_builders and math.min(per_pair, options.cases - case) or per_pair do
      case = case + 1
      local reason = step(self, rand)
      if reason then
        local config = self.pair.config
        error(("GDN_SEED=%d case %d (%s, %s, %d groups, %d rows): %s"):format(seed, case, config.rules,
          config.mamba_cache_mode, config.num_groups, self.pair.a.rows.num_rows, reason), 0)
      end
    end
    local counters = self.pair.gpu:counters()
    self.launches, self.ring = self.launches + counters.launches, self.ring + counters.ring_launches
    self.skipped = self.skipped + counters.skipped
    local _, fault = self.pair.gpu:peek_device_error()
    if fault and self.unseen == 0 then
      error(("GDN_SEED=%d before case %d: %s"):format(seed, case, fault), 0)
    end
    self.pair:close()
    for kind in pairs(wanted) do met[kind] = self[kind] or self.rules[kind] or 0 end
    if options.progress then options.progress(case) end
  end)
  return self
end

return M
