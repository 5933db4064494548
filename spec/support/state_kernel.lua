-- Stands in for the model's kernels: folds tokens into states where the metadata says, and raises when a
-- row would start from anything but the state of exactly the tokens computed before.
local host_copies = require "spec.support.host_copies"

local M = {}

local Kernel = {}
Kernel.__index = Kernel

local EMPTY = 7
local REJECTED = 0 -- the value of a draft that turns out wrong

local function fold(state, token) return (state * 131 + token + 1) % 4294967291 end

--- Token p (0-based) of a text; requests of one family begin alike.
function M.token(family, p) return (family * 7919 + p * 104729) % 65521 + 1 end

-- The state after p tokens of a family.
local function true_state(self, family, p)
  local states = self.prefixes[family]
  if not states then
    states = { [0] = EMPTY }
    self.prefixes[family] = states
  end
  local n = #states
  while n < p do
    states[n + 1] = fold(states[n], self.token(family, n))
    n = n + 1
  end
  return states[p]
end

local function check(condition, where, format, ...)
  if not condition then error(where .. ": " .. format:format(...), 0) end
end

-- What a row folds: known tokens, then drafts of which `accepted` are right.
local function tokens_of(self, row)
  local list = {}
  for k = 1, row.n do
    local is_wrong_draft = row.drafts >= 0 and k > 1 + row.accepted
    list[k] = is_wrong_draft and REJECTED or self.token(row.family, row.computed + k - 1)
  end
  return list
end

local function run_group(self, g, step, rows, where)
  local meta, states = step.metadata:group(g), self.states[g]
  local speculative, spec, plain = meta.num_spec_decodes > 0, 0, 0
  local read_by, writes = {}, {}
  for _, row in ipairs(rows) do
    local at = ("%s group %d request %s"):format(where, g, row.id)
    local is_spec = speculative and row.drafts >= 0
    local read, shift
    if is_spec then
      read, shift = meta.spec_read_state_indices[spec], meta.spec_conv_shift[spec]
      check(row.is_dead or meta.num_accepted_tokens[spec] == row.last_accepted, at, "accepted %d, want %d",
            meta.num_accepted_tokens[spec], row.last_accepted)
    else
      read, shift = meta.non_spec_read_state_indices[plain], meta.non_spec_conv_shift[plain]
    end
    check(row.is_dead or shift == (row.computed > 0 and row.last_accepted - 1 or 0), at,
          "conv shift %d after %d accepted", shift,
          row.last_accepted)
    local state = EMPTY
    if row.computed == 0 then
      check(read == 0, at, "nothing is computed, and slot %d is read", read)
    else
      state = states[read]
      check(row.is_dead or shift == (self.shifts[g][read] or 0), at,
            "conv shift %d, and slot %d was left with %d", shift, read, self.shifts[g][read] or 0)
      check(row.is_dead or state == true_state(self, row.family, row.computed), at,
            "slot %d does not hold the state of %d tokens",
            read, row.computed)
      read_by[read] = row.id
    end
    for k, token in ipairs(tokens_of(self, row)) do
      state = fold(state or 0, token)
      local slot
      if is_spec then
        slot = meta.spec_state_indices_tensor[spec * (self.num_spec + 1) + k - 1]
      elseif k == row.n then
        slot = meta.non_spec_state_indices_tensor[plain]
      end
      if slot then
        local left = is_spec and k - 1 or 0 -- shift of the conv window that it is left with
        writes[#writes + 1] = { slot = slot, state = state, shift = left, id = row.id, at = at }
      end
    end
    if is_spec then spec = spec + 1 else plain = plain + 1 end
  end
  local written = {}
  for _, write in ipairs(writes) do
    check(write.slot > 0, write.at, "the null slot is written")
    check(not written[write.slot], write.at, "slot %d is written twice", write.slot)
    check(not read_by[write.slot] or read_by[write.slot] == write.id, write.at,
          "slot %d is read by request %s",
          write.slot, tostring(read_by[write.slot]))
    written[write.slot] = true
    states[write.slot], self.shifts[g][write.slot] = write.state, write.shift
  end
end

--- rows: { id, family, n, drafts, accepted, computed, last_accepted } of every row, in order; is_dead: the
--- request finished meanwhile, what the row computes is of no interest.
function Kernel:run(step, rows, where)
  host_copies.make(step, self.groups, function(g, from, to, is_back)
    if is_back then
      self.states[g][to], self.shifts[g][to] = self.host[g][from], self.host_shifts[g][from]
    else
      self.host[g][to], self.host_shifts[g][to] = self.states[g][from], self.shifts[g][from]
    end
  end)
  for g = 0, self.groups - 1 do run_group(self, g, step, rows, where) end
end

--- The state after so many tokens of a family.
Kernel.state_of = true_state

--- A host writes the state after so many tokens of a family into a slot.
function Kernel:place(g, slot, family, tokens)
  self.states[g][slot], self.shifts[g][slot] = true_state(self, family, tokens), 0
end

--- The device and the host's copies are gone.
function Kernel:forget()
  for g = 0, self.groups - 1 do
    self.states[g], self.host[g], self.shifts[g], self.host_shifts[g] = {}, {}, {}, {}
  end
end

--- token(family, p): of another kind of texts.
function M.new(groups, num_spec, token)
  local self = { groups = groups, num_spec = num_spec, states = {}, host = {}, shifts = {}, host_shifts = {},
                 prefixes = {}, token = token or M.token }
  Kernel.forget(self)
  return setmetatable(self, Kernel)
end

return M
