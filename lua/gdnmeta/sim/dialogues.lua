-- Made-up sessions whose prompts have identity: turns that go on from the one before, system prompts and
-- documents that sessions share, forks from an earlier turn, edited tails. Three kinds stand for three public
-- traces; the same options give the same requests on every machine.
local domains = require "gdnmeta.native.domains"
local identity = require "gdnmeta.sim.trace.identity"
local options = require "gdnmeta.native.options"
local workload = require "gdnmeta.sim.workload"

local floor, max, min = math.floor, math.max, math.min

local M = {}

-- Lengths are { median, sigma of the logarithm } in tokens, times likewise in seconds.
--   requests  the first so many are kept   rate    sessions per second
--   longest   tokens of a prompt           common  tokens that all share
--   shared    n texts, of which a session has one with a chance of `share`, skewed to the first ones
--   first     the first message            turns   chance of a second one, and how many follow then
--   more      a further message            answer  its tokens, which stand before the next message
--   think     from turn to turn            pause   chance of a long one, and how long
--   edit, fork, restart   chances that a turn edits the message before, goes on from an earlier turn, or
--                         keeps the start alone
M.KINDS = {
  conversation = {
    sessions = 9000, requests = 12031, rate = 2.08, longest = 120000, common = 512, first = { 5200, 1.15 },
    shared = { n = 60, share = 0.12, length = { 1500, 1 }, skew = 1.1 }, turns = { 0.26, 2.2 },
    more = { 500, 1.3 }, answer = { 200, 1 }, think = { 165, 1.15 }, edit = 0.08, fork = 0.10,
  },
  synthetic = {
    sessions = 3000, requests = 3993, rate = 1, longest = 130000, common = 0, first = { 4500, 1.2 },
    shared = { n = 40, share = 0.40, length = { 9000, 1 }, skew = 0.8 }, turns = { 0.55, 1.6 },
    more = { 300, 1 }, answer = { 200, 1 }, think = { 150, 1 },
  },
  agents = {
    sessions = 710, rate = 0.021, longest = 200000, common = 0, first = { 11000, 0.4 }, turns = { 1, 50 },
    more = { 900, 1.2 }, answer = { 250, 1 }, think = { 22, 1 }, pause = { 0.03, 240, 1 }, edit = 0.006,
    fork = 0.006, restart = { 0.006, 6000, 0.5 },
  },
}

local SPEC = {
  kind = { "conversation", domains.one_of { "agents", "conversation", "synthetic" } },
  seed = { 1, domains.integer(0, 2^32 - 1) },
  sessions = { nil, domains.integer(1, 1e6) }, -- the kind's
  block_size = { 512, domains.integer(1, 2^20) },
}

local Draw = {}
Draw.__index = Draw

function Draw:chance(p) return p ~= nil and self.random() < p end

function Draw:exponential(mean) return -math.log(self.random()) * mean end

function Draw:length(what, most)
  local z = math.sqrt(-2 * math.log(self.random())) * math.cos(2 * math.pi * self.random())
  return max(1, min(most, floor(what[1] * math.exp(what[2] * z) + 0.5)))
end

-- 1 .. n, the k-th k^-skew as often as the first.
function Draw:skewed(n, skew)
  local total = 0
  for k = 1, n do total = total + k^-skew end
  local x = self.random() * total
  for k = 1, n do
    x = x - k^-skew
    if x <= 0 then return k end
  end
  return n
end

-- A text is a list of pieces: { number of the piece, tokens }, of which no two are alike.
local function piece(self, tokens)
  self.pieces = self.pieces + 1
  return { self.pieces, tokens }
end

local function tokens_of(text)
  local n = 0
  for i = 1, #text do n = n + text[i][2] end
  return n
end

local function first_pieces(text, n)
  local copy = {}
  for i = 1, n do copy[i] = text[i] end
  return copy
end

-- What the next turn's prompt is made of.
local function next_text(self, kind, text, answer)
  local longest, n = kind.longest, #text
  if n > self.start and self.draw:chance(kind.edit) then
    local edited = first_pieces(text, n - 1)
    edited[n] = piece(self, self.draw:length(kind.more, longest))
    return edited
  elseif n > self.start + 1 and self.draw:chance(kind.fork) then
    local keep = self.start + floor(self.draw.random() * (n - self.start))
    local fork = first_pieces(text, keep)
    fork[keep + 1] = piece(self, self.draw:length(kind.more, longest))
    return fork
  elseif kind.restart and self.draw:chance(kind.restart[1]) then
    local again = first_pieces(text, self.start)
    again[self.start + 1] = piece(self, self.draw:length({ kind.restart[2], kind.restart[3] }, longest))
    return again
  end
  local further = first_pieces(text, n)
  further[n + 1] = piece(self, answer + self.draw:length(kind.more, longest))
  return further
end

local function session(self, kind, number, at, requests)
  local draw, text = self.draw, { self.common }
  if kind.shared and draw:chance(kind.shared.share) then
    text[#text + 1] = self.shared[draw:skewed(kind.shared.n, kind.shared.skew)]
  end
  text[#text + 1] = piece(self, draw:length(kind.first, kind.longest))
  self.start = #text
  local turns, before = 1, nil
  if draw:chance(kind.turns[1]) then turns = 1 + max(1, floor(draw:exponential(kind.turns[2]) + 0.5)) end
  for turn = 1, turns do
    local prompt = tokens_of(text)
    if prompt > kind.longest then return end
    local think = draw:length({ kind.think[1] * 1e3, kind.think[2] }, 1e9) / 1e3
    if kind.pause and draw:chance(kind.pause[1]) then
      think = think + draw:length({ kind.pause[2] * 1e3, kind.pause[3] }, 1e9) / 1e3
    end
    if turn > 1 then at = at + think end
    local r = { arrival = floor(at * 1e6) / 1e6, prompt = prompt, output = draw:length(kind.answer, 4000),
                session = ("session%d"):format(number), after = before, think = turn > 1 and think or nil,
                text = text, order = #requests }
    requests[#requests + 1], before = r, r
    text = next_text(self, kind, text, r.output)
  end
end

local function by_arrival(a, b)
  if a.arrival ~= b.arrival then return a.arrival < b.arrival end
  return a.order < b.order
end

--- What is wrong with options of M.generate.
---@param opts table
---@return string|nil message
function M.problem(opts) return select(2, options.read(opts, SPEC)) end

--- Requests { arrival, prompt, output, session, after, think, blocks } by arrival; the list has its
--- block_size.
---@param opts? table kind ("conversation", "synthetic", "agents"), seed, sessions, block_size
---@return table requests
function M.generate(opts)
  local o = options.parse("dialogues.generate", opts, SPEC)
  local kind, requests = M.KINDS[o.kind], {}
  local draw = setmetatable({ random = workload.random(o.seed) }, Draw)
  local self, at = { draw = draw, pieces = 0, shared = {} }, 0
  self.common = piece(self, kind.common)
  for i = 1, kind.shared and kind.shared.n or 0 do
    self.shared[i] = piece(self, draw:length(kind.shared.length, kind.longest))
  end
  for number = 1, o.sessions or kind.sessions do
    at = at + draw:exponential(1 / kind.rate)
    session(self, kind, number, at, requests)
  end
  table.sort(requests, by_arrival)
  local most = kind.requests and math.ceil(kind.requests * (o.sessions or kind.sessions) / kind.sessions)
  for i = #requests, (most or #requests) + 1, -1 do requests[i] = nil end
  local number = identity.numbers()
  for _, r in ipairs(requests) do
    r.blocks = identity.blocks_of(r.text, o.block_size, number)
    r.text, r.order = nil, nil
  end
  requests.block_size, requests.name = o.block_size, o.kind
  return requests
end

return M
