-- Waiting requests by the policy's key. It is computed when the request joins the queue; one that is not
-- static also anew in every step, for at most `rekey_limit` requests in turn and for whoever comes first.
-- (Same face as fifo.lua and lanes.lua: begin, candidate, advance ..., finish; finish puts back.)
local ffi = require "ffi"
local lib = require "gdnmeta.native"

local out_t = ffi.typeof "gdn_heap *[1]"
local items_t = ffi.typeof "int32_t[?]"

local function heap_free(heap) lib.gdn_heap_free(heap) end

local ByKey = {}
ByKey.__index = ByKey

local function set(self, i)
  local r = self.requests
  lib.gdn_heap_reserve(self.heap, r.capacity)
  lib.gdn_heap_set(self.heap, i, r.key[i], r.tie[i])
end

function ByKey:push(i)
  self.hooks:key(i)
  set(self, i)
end

function ByKey:remove(i)
  lib.gdn_heap_remove(self.heap, i)
end

local function rekey(self)
  local fifo, items, n = self.fifo, self.items, math.min(self.fifo.size, self.limit)
  for k = 0, n - 1 do items[k] = fifo:rotate() end
  if not self.hooks:keys(items, n, self.step) then return false end
  for k = 0, n - 1 do set(self, items[k]) end
  return true
end

--- Candidates of a step from here on, in order. False: the policy failed.
function ByKey:begin(step)
  self.popped, self.step, self.fresh = 0, step, 0
  return self.static or rekey(self)
end

--- The best one, or -1; nil: the policy failed.
function ByKey:candidate()
  local r = self.requests
  while true do
    local i = lib.gdn_heap_first(self.heap)
    if i < 0 or self.static or r.keyed[i] == self.step or self.fresh >= self.limit then return i end
    self.fresh = self.fresh + 1
    self.items[0] = i
    if not self.hooks:keys(self.items, 1, self.step) then return nil end
    set(self, i)
  end
end

function ByKey:advance()
  local i = lib.gdn_heap_first(self.heap)
  lib.gdn_heap_remove(self.heap, i)
  self.popped = self.popped + 1
  self.held[self.popped] = i
end

function ByKey:finish()
  for n = 1, self.popped do set(self, self.held[n]) end
  self.popped = 0
end

local M = {}

function M.new(requests, fifo, policy, hooks, limit)
  local out = out_t()
  if lib.gdn_heap_new(requests.capacity, out) ~= 0 then error("gdnmeta.engine: no memory for a queue", 0) end
  local self = setmetatable({ requests = requests, fifo = fifo, static = policy.static, hooks = hooks,
                              limit = limit,
                              heap = ffi.gc(out[0], heap_free), items = items_t(limit), held = {},
                                popped = 0 }, ByKey)
  local i = fifo.head
  while i >= 0 do
    self:push(i)
    i = requests.next[i]
  end
  return self
end

return M
