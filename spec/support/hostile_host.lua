-- What a host can do wrong around a state cache: any value to any method, calls out of order, places that are
-- used twice, and hooks that yield or call the engine. For cache_chaos.lua, as further things that it does.
local ffi = require "ffi"
local serve = require "spec.support.run_engine"
local wild_cache = require "spec.support.wild_cache"

local M = {}

local function pick(list, draw) return list[draw(list.n or #list)] end

local function any_id(self)
  local keys = {}
  for id in pairs(self.live) do keys[#keys + 1] = id end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return #keys > 0 and pick(keys, self.draw) or "nobody"
end

local function no() error "no" end
local FAILING = setmetatable({}, { __index = no, __tostring = no })

-- Values that are of no use, and some that are.
local function any_value(self)
  local draw = self.draw
  local values = { n = 24, 0, -1, 1, 1.5, 0 / 0, math.huge, -math.huge, 2 ^ 53, 2 ^ 31, "", ("x"):rep(3000),
                   "\27[2J\0", {}, FAILING, print, coroutine.create(print), ffi.new "int64_t", true, false,
                   any_id(self), self.flying[1], self.held[1], self.engine }
  return pick(values, draw) -- the last is nil
end

local METHODS = { "fork", "export", "receive", "release", "pin", "unpin", "session", "request", "cancel",
                  "checkpoint", "set_cache", "submit", "cached", "slots", "kv", "failures", "record" }

local REQUEST = { "id", "prompt_tokens", "max_tokens", "blocks", "tokens", "salt", "session", "computed",
                  "slot", "keep", "checkpoint", "arrival", "user", "class", "weight", "priority", "ttft",
                  "tpot", "deadline" }

-- A request with some fields that are anything.
local function any_request(self)
  self.last = self.last + 1
  local r = { id = self.last, prompt_tokens = self.draw(60), max_tokens = self.draw(20) }
  if self.draw(2) == 1 then r.blocks = { 1, 2, 3 } end
  for _ = 1, self.draw(3) do r[pick(REQUEST, self.draw)] = any_value(self) end
  return r
end

-- Nobody knows of a request that was made by chance: it goes, or it is served to its end.
local function adopt(self, id, family, is_bad)
  local r = type(id) ~= "nil" and self.engine:request(id)
  if r and not self.live[id] then
    if self.draw(2) == 1 or is_bad then self.engine:cancel(id)
    else self.live[id] = { id = id, family = family or 1, stops = 40, max_tokens = r.max_tokens } end
  end
end

local function family_of(self, id) return type(id) ~= "nil" and self.live[id] and self.live[id].family end

-- A message is about the caller's mistake, at the caller's line, and of some length.
local function check_message(self, method, message)
  if type(message) == "string" and message:find "hostile_host%.lua:%d+: no$" then return end -- FAILING's own
  if type(message) ~= "string" or #message > 1200 or message:find "%c"
    or message:find "%.lua:%d+:" and not message:find "hostile_host%.lua:%d+: gdnmeta" then
    error(("%s: engine:%s says %q"):format(self.where, method, tostring(message)), 0)
  end
end

local function call(self, method, ...)
  local ok, result, message = pcall(self.engine[method], self.engine, ...)
  self.wrongs = (self.wrongs or 0) + ((not ok or not result) and 1 or 0)
  if not ok then
    check_message(self, method, result)
  elseif ok and result == nil and type(message) ~= "nil" then
    check_message(self, method, message)
  end
  return ok and result
end

M.actions = {
  anything = function(self)
    local method = pick(METHODS, self.draw)
    if method == "submit" then
      local r = self.draw(3) > 1 and any_request(self) or any_value(self)
      call(self, method, r)
      if r ~= FAILING and type(r) == "table" then -- with a state, it may be of another text
        adopt(self, rawget(r, "id"), 1, rawget(r, "slot") or rawget(r, "checkpoint"))
      end
    elseif method == "fork" then
      local r = { id = any_value(self), max_tokens = self.draw(2) == 1 and any_value(self) or nil }
      local of = self.draw(2) == 1 and any_id(self) or any_value(self)
      local family = family_of(self, of)
      call(self, method, of, self.draw(3) > 1 and r or any_value(self))
      adopt(self, r.id, family)
    elseif method == "record" then
      call(self, method, 5)
    else
      local value = any_value(self)
      local result = call(self, method, value)
      if result and (method == "export" or method == "receive" or method == "checkpoint") then
        self.held[#self.held + 1] = result
        result.family = method ~= "receive" and family_of(self, value) or nil -- a number of tokens is no id
      elseif result and method == "cancel" then
        self.live[value] = nil
      elseif method == "release" and type(value) ~= "nil" and value == self.held[1] then
        table.remove(self.held, 1)
      end
    end
  end,
  any_result = function(self) -- of steps in flight, in any order, and of those that are done
    local step = self.draw(2) == 1 and self.flying[2] or self.before
    if not step or step == self.flying[1] then return end
    call(self, "complete", step, self.now, {})
  end,
  any_time = function(self)
    call(self, "step", pick({ 0 / 0, math.huge, "x", {}, -math.huge }, self.draw))
  end,
  keep = function(self)
    local place = self.engine:receive(self.draw(50))
    if not place then return end
    self.held[#self.held + 1] = place
    self.last = self.last + 1
    local r = { id = self.last, prompt_tokens = self.draw(70), max_tokens = self.draw(9), keep = place,
                blocks = self.draw(2) == 1 and { 1, 2, 3 } or nil }
    call(self, "submit", r)
    adopt(self, r.id)
    if self.draw(3) == 1 then self.engine:release(table.remove(self.held)) end
  end,
  released = function(self) -- what was let go of is of no use any more, whoever holds its slots
    local state = self.held[1] and table.remove(self.held, 1)
    if not state then return end
    self.engine:release(state)
    self.last = self.last + 1
    local ok = self.engine:submit { id = self.last, prompt_tokens = 90, max_tokens = 1, slot = state }
    if ok then error(self.where .. ": a request begins with a state that was released", 0) end
  end,
  pin_all = function(self)
    for k = 1, 5 do call(self, "pin", "s" .. k) end
  end,
  export_all = function(self)
    for id in pairs(self.live) do
      local state = call(self, "export", id)
      if state then self.held[#self.held + 1], state.family = state, family_of(self, id) end
    end
  end,
  again = function(self) -- a finished or cancelled request
    local of = self.last - self.draw(5)
    local family = family_of(self, of)
    call(self, "fork", of, { id = "again" })
    adopt(self, "again", family)
  end,
  wild = function(self)
    local hooks, engine = wild_cache(self.draw, self.has_host), self.engine
    local n, m = pick({ "checkpoints", "keep", "worth" }, self.draw), self.draw(6)
    local right = hooks[n] or function() end
    hooks[n] = function(...)
      if m == 1 then coroutine.yield(1) end
      if m == 2 then engine:set_cache(nil) end
      if m == 3 then engine:cancel(1) end
      if m == 4 then pcall(engine.submit, engine, { id = "in a hook", prompt_tokens = 4, max_tokens = 1 }) end
      if m == 5 then error(FAILING) end
      if m == 6 then engine:close() end
      return right(...)
    end
    call(self, "set_cache", hooks)
  end,
}

--- An engine as small as it may be, in every way.
---@param draw function
---@return table engine, table o of cache_chaos.play
function M.engine(draw)
  local align, async, groups = draw(2) == 1, draw(2) == 1, draw(3)
  local block = align and draw(4) or 1
  local spec = draw(2) == 1 and (align and math.min(draw(3), block - 1) or draw(3)) or 0
  local size, seqs = block * draw(3), draw(4)
  local least = (align and spec + 2 + (async and 2 or 0) or spec + 1) + 1
  local b = { num_groups = groups, num_speculative_tokens = spec,
              mamba_cache_mode = align and "align" or "none", mamba_block_size = align and block or nil,
              max_requests = seqs + draw(3), max_num_seqs = seqs,
              checkpoint_any = draw(2) == 1, num_slots = {} }
  for group = 1, groups do b.num_slots[group] = least + draw(3) - 1 + (draw(2) == 1 and draw(12) or 0) end
  b.max_blocks_per_row = align and math.ceil(100 / block) + spec + draw(2) - 1 or spec + 2
  if not align and draw(3) == 1 then b.full_cuda_graph = "mixed" end
  local kv = size % 2 == 0 and draw(2) or 1
  local blocks = math.ceil(100 / kv) + draw(20)
  local e = { hash_block_size = size, max_model_len = 100, policy_budget = 5000, breaker = 1e6, async = async,
              kv_block_size = kv, kv_blocks = draw(2) == 1 and blocks or nil,
              host_slots = draw(2) == 1 and draw(4) or 0 }
  e.cache = draw(3) > 1 and wild_cache(draw, e.host_slots > 0) or nil
  if async then e.second_builder = serve.builder(b) end
  return serve.engine("fcfs", e, b), { draw = draw, async = async, spec = spec, size = size,
                                       has_host = e.host_slots > 0, more = M.actions }
end

return M
