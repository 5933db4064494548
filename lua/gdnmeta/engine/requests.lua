-- Requests as columns: one C array a field, all indexed by the request's number, which is small, and
-- reused after the request is gone. Arrays grow by doubling, so hold `requests.known` within a step only.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"
local places = require "gdnmeta.engine.places"

local int32s, doubles = array_of "int32_t", array_of "double"

local NONE = -1 -- no request, table row or group

local M = { FREE = 0, WAITING = 1, RUNNING = 2, LEAVING = 3, CANCELLED = 4, NONE = NONE }

-- Tokens are counted from the start of the prompt. Flight: from the pack of a step to its completion.
local INTEGERS = {
  "state",        -- FREE, WAITING, RUNNING; LEAVING (finished) and CANCELLED: a step in flight still names it
  "prompt",       -- tokens
  "max_tokens",   -- tokens to emit at most
  "known",        -- tokens whose value is known: prompt and output
  "computed",     -- tokens whose state exists once every step in flight is complete with all drafts accepted
  "cached",       -- tokens of the source that it starts from; 0: none
  "drafts",       -- proposed for the next step
  "accepted",     -- tokens that the last step emitted, 1 when that step drafted nothing
  "speculative",  -- steps with a speculative row of it, since it was submitted or preempted last
  "read_column",  -- of the state table: where the current state lies; -1: nothing computed
  "read_before",  -- the same before the newest step
  "epoch",        -- changes when the request stops running or waiting: identifies old results
  "flight",       -- steps in flight that name it
  "ahead",        -- tokens in flight
  "pending",      -- rows in flight that will emit
  "placeholders", -- tokens those rows emit at most
  "table_row",    -- row of the state tables; NONE: waits
  "first_column", -- lowest column of the table row that may hold a block
  "last_column",  -- highest
  "kv_blocks",    -- attention-cache blocks it holds
  "kv_shared",    -- whole blocks of the source that it begins with, which it shares
  "hit_node",     -- of the index, whose state it begins with and holds until it has read it; 0: none
  "holds",        -- 1: it waits with that node
  "on_host",      -- 1: that state is on the host, and is copied into slots of its own
  "node",         -- of the index, whose path it has made or begun with, and keeps while it runs; 0: none
  "num_ids",      -- full blocks of its text whose ids are known
  "answer_at",    -- tokens of the state of its answer that it holds until its end; 0: none
  "answer_accepted", -- as `accepted`, of the row that left that state
  "cross_at",     -- a row that completes so many tokens may leave such a state
  "junction",     -- tokens where other prompts that are known part from its own; 0: nowhere
  "asked_from", "asked_to", -- tokens between which the cache's hook has named places for states; -1: nowhere
  "last_block",   -- tokens up to the end of its prompt's last full block that a hit may cover; 0: no ids
  "keep_at",      -- tokens where a chunk in flight or planned ends, and leaves a state for others; 0: nowhere
  "kept",         -- such tokens, whose state was moved to the spare column; NONE: it was not
  "matched",      -- blocks that were looked for in the index; -1: none yet
  "sourced",      -- 1: it reads the spare column next, or a step in flight does
  "slots_coming", "kv_coming", -- what comes back once no step in flight names it any more
  "preemptions",
  "user", "class", -- numbers of names
  "next", "prev", -- queue by arrival; NONE: end
  "group_next", "group_prev", -- queue of its group
  "group",        -- NONE: in none
  "mark",         -- what the plan says: see plan.lua
  "parked",       -- what a look at it costs, where the queue keeps it apart until its turn; 0: it does not
  "yielded",      -- times that it was evicted for one that waited
  "yields",       -- scratch: the step in which it is to leave
  "seen",         -- scratch of the proof
  "place",        -- scratch: index in the running list
  "allowed",      -- scratch: drafts that the policy leaves of those proposed
  "fix",          -- rejected drafts that a later step in flight counted on
  "fix_accepted", -- the value of `accepted` that the step should have had
}

local NUMBERS = {
  "arrival", "deadline", "ttft", "tpot", "priority", "weight", "last_emit", -- seconds, or plain
  "key",          -- by the policy
  "tie",          -- submission order
  "kv_reserved_to", -- tokens that its attention-cache blocks hold
  "slots_from",   -- a step may end at tokens in (slots_from, slots_to] without a new state block
  "slots_to",
  "keyed",        -- step in which `key` was computed
  "held",         -- step in which the policy held it; 0: not at the last call
  "score",        -- scratch: victims by the policy
}

local Requests = {}
Requests.__index = Requests

local function grow(self, capacity)
  for n, names in ipairs { INTEGERS, NUMBERS } do
    local array, bytes = n == 1 and int32s or doubles, n == 1 and 4 or 8
    for _, name in ipairs(names) do
      local old, new = self[name], array(capacity)
      if old then ffi.copy(new, old, self.capacity * bytes) end
      self[name] = new
    end
  end
  for i = self.capacity, capacity - 1 do self.table_row[i], self.group[i] = NONE, NONE end
  self.capacity = capacity
end

--- A number for a new request, with a place in every column. Nothing is taken yet.
---@return integer
function Requests:next_number()
  local i = self.free[#self.free] or self.used
  if i >= self.capacity then grow(self, 2 * self.capacity) end
  return i
end

--- Take the number that next_number() gave.
---@param i integer
---@param id number|string
function Requests:take(i, id)
  self.index = self.places:for_one_more(self.index)
  self.id[i] = id
  self.index[id] = i
  if i == self.used then self.used = i + 1 else self.free[#self.free] = nil end
end

--- It leaves those that run or wait: what steps in flight say of it from now on is of before.
---@param i integer
function Requests:outdate(i) self.epoch[i] = self.epoch[i] + 1 end

--- Its number may be given to another request from now on.
---@param i integer
function Requests:put(i)
  self.id[i], self.checkpoint[i], self.ids[i], self.cuts[i], self.keep[i] = nil, nil, nil, nil, nil
  self.text[i], self.session[i] = nil, nil
  self.state[i] = M.FREE
  self.free[#self.free + 1] = i
end

--- Its id may be submitted again from now on.
---@param i integer
function Requests:forget(i)
  self.index[self.id[i]] = nil
end

---@param capacity integer to begin with
function M.new(capacity)
  local self = setmetatable({ capacity = 0, used = 0, free = {}, id = {}, index = {}, places = places.new(),
                              checkpoint = {}, ids = {}, cuts = {}, keep = {}, text = {}, session = {} },
                            Requests)
  grow(self, capacity)
  return self
end

return M
