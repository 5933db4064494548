-- The CUDA driver for specs: device memory, streams, graphs; and the fake's own functions where the
-- driver is build/libfakecuda.so. The same specs run on both.
local ffi = require "ffi"
local owned = require "gdnmeta.native.owned"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

ffi.cdef [[
int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
int cuInit(unsigned flags);
int cuDeviceGetCount(int *n);
int cuDevicePrimaryCtxRetain(void **context, int device);
int cuDevicePrimaryCtxRelease_v2(int device);
int cuCtxGetCurrent(void **context);
int cuCtxSetCurrent(void *context);
int cuMemAlloc_v2(uint64_t *memory, size_t bytes);
int cuMemFree_v2(uint64_t memory);
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags);
int cuMemFreeHost(void *memory);
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream);
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream);
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream);
int cuStreamCreate(void **stream, unsigned flags);
int cuStreamDestroy_v2(void *stream);
int cuStreamSynchronize(void *stream);
int cuStreamBeginCapture_v2(void *stream, int mode);
int cuStreamEndCapture(void *stream, void **graph);
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags);
int cuGraphLaunch(void *executable, void *stream);
int cuGraphExecDestroy(void *executable);
int cuGraphDestroy(void *graph);
int cuGetErrorName(int code, const char **name);

void fake_reset(void);
void fake_fail(long call, long code);
void fake_break(long call, long code);
long fake_count(const char *what);
const char *fake_failed_call(void);
void fake_hold(int on);
void fake_devices(int n);
void fake_version(int version);
void fake_no_image(int on);
]]

local FAKE = os.getenv "GDN_FAKECUDA" or "build/libfakecuda.so"
local VARIABLE = "GDNMETA_LIBCUDA"

local pointer_t, number_t = ffi.typeof "void *[1]", ffi.typeof "uint64_t[1]"

local Driver = {}
Driver.__index = Driver

-- What is made while a driver is open is freed with it: a test that failed closes nothing, and a builder that
-- the collector frees later calls one that is gone. Pointer -> what frees it; keeps no pointer alive.
local made, num_open = setmetatable({}, { __mode = "k" }), 0
local new = owned.new
function owned.new(...)
  local pointer, release = new(...)
  if num_open > 0 then made[pointer] = release end
  return pointer, release
end

local function free_made()
  for pointer, release in pairs(made) do
    made[pointer] = nil
    release(pointer)
  end
end

local function check(lib, name, code)
  if code == 0 then return end
  local text = ffi.new "const char *[1]"
  lib.cuGetErrorName(code, text)
  error(("%s: %s (%d)"):format(name, text[0] ~= nil and ffi.string(text[0]) or "?", code), 3)
end

--- Any call by its name; raises when it fails.
function Driver:call(name, ...)
  check(self.lib, name, self.lib[name](...))
end

--- Device memory of n int32, freed by close().
---@return ffi.cdata* pointer int32_t *, of the device
function Driver:int32(n)
  local out = number_t()
  self:call("cuMemAlloc_v2", out, math.max(n, 1) * 4)
  self.memory[#self.memory + 1] = out[0]
  return ffi.cast("int32_t *", out[0])
end

--- Device memory before close() would free it.
function Driver:free(pointer)
  local number = ffi.cast("uint64_t", pointer)
  for i, memory in ipairs(self.memory) do
    if memory == number then
      table.remove(self.memory, i)
      return self:call("cuMemFree_v2", number)
    end
  end
end

function Driver:free_all()
  for _, memory in ipairs(self.memory) do self:call("cuMemFree_v2", memory) end
  self.memory = {}
end

--- Host values (a list, or an int32_t array of n) into device memory, done when this returns.
function Driver:write(memory, values, n)
  if type(values) == "table" then n, values = #values, int32s(#values, values) end
  self:call("cuMemcpyHtoDAsync_v2", ffi.cast("uint64_t", memory), values, n * 4, nil)
  self:call("cuStreamSynchronize", nil)
end

---@return table values
function Driver:read(memory, n)
  local host, out = int32s(n), {}
  self:call("cuMemcpyDtoHAsync_v2", host, ffi.cast("uint64_t", memory), n * 4, nil)
  self:call("cuStreamSynchronize", nil)
  for i = 1, n do out[i] = host[i - 1] end
  return out
end

--- A stream of its own, destroyed by close().
function Driver:stream()
  local out = pointer_t()
  self:call("cuStreamCreate", out, 1) -- 1: does not wait for the legacy stream
  self.streams[#self.streams + 1] = out[0]
  return out[0]
end

--- What the fake has counted: calls, launches, copies, waits, allocations, live, overruns; and of the last
--- launch its kernel and its bytes of shared memory.
function Driver:count(what) return tonumber(self.lib.fake_count(what)) end

function Driver:close()
  num_open = num_open - 1
  if self.kind == "fake" then self.lib.fake_hold(0) end
  if num_open == 0 then free_made() end
  for _, stream in ipairs(self.streams) do self:call("cuStreamDestroy_v2", stream) end
  self:free_all()
  self.lib.cuCtxSetCurrent(nil)
  self:call("cuDevicePrimaryCtxRelease_v2", 0)
  if self.was then ffi.C.setenv(VARIABLE, self.was, 1) else ffi.C.unsetenv(VARIABLE) end
end

local M = { fake = FAKE }

--- Builders made from now on find this driver. `current`: false leaves the thread without a context.
---@param kind string "fake" or "cuda"
function M.open(kind, current)
  local was = os.getenv(VARIABLE)
  local path = kind == "fake" and FAKE or was or "libcuda.so.1"
  local self = { lib = ffi.load(path), was = was, memory = {}, streams = {}, kind = kind }
  setmetatable(self, Driver)
  ffi.C.setenv(VARIABLE, path, 1)
  local context = pointer_t()
  self:call("cuInit", 0)
  self:call("cuDevicePrimaryCtxRetain", context, 0)
  self.context = context[0]
  num_open = num_open + 1
  if current ~= false then self:call("cuCtxSetCurrent", self.context) end
  return self
end

--- A driver that is open while the specs of a describe run, its memory freed after each.
---@param kind string
---@param hooks table busted's setup, teardown and after_each
---@param take fun(driver: table, stream: any)
function M.around(kind, hooks, take)
  local driver
  hooks[1](function()
    driver = M.open(kind)
    take(driver, driver:stream())
  end)
  hooks[2](function() driver:close() end)
  hooks[3](function() driver:free_all() end)
end

return M
